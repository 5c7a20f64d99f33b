//! The client libraries of the guide, in the versions that its files pin, fetched once into a folder under `target/`.

use annika_devkit::oracle;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::agents;

/// Where redis-py is; `None` after saying loudly that `test` is skipped.
pub(super) fn redis_py(test: &str) -> Option<PathBuf> {
    static FETCHED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(|| {
        fetch("redis-py", "requirements.txt", |folder| {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
            pip.arg(folder).arg("--requirement").arg(agents().join("requirements.txt"));
            pip
        })
    });
    found(test, "redis-py", fetched)
}

/// The folder `node_modules` with ioredis; `None` after saying loudly that `test` is skipped.
pub(super) fn ioredis(test: &str) -> Option<PathBuf> {
    static FETCHED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(|| {
        fetch("ioredis", "package.json", |folder| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix"]).arg(folder);
            npm
        })
        .map(|folder| folder.join("node_modules"))
    });
    found(test, "ioredis", fetched)
}

fn found(test: &str, name: &str, fetched: &Result<PathBuf, String>) -> Option<PathBuf> {
    match fetched {
        Ok(folder) => Some(folder.clone()),
        Err(why) => {
            oracle::skip(test, &format!("{name} could not be fetched: {why}"));
            None
        }
    }
}

/// A folder named by what was asked for; it is there only if everything in it is.
fn fetch(name: &str, list: &str, install: impl Fn(&Path) -> Command) -> Result<PathBuf, String> {
    let wanted = fs::read_to_string(agents().join(list)).map_err(|error| error.to_string())?;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agents");
    let ready = cache.join(name);
    if fs::read_to_string(ready.join(list)).is_ok_and(|had| had == wanted) {
        return Ok(ready);
    }
    fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    let making = tempfile::tempdir_in(&cache).map_err(|error| error.to_string())?;
    fs::write(making.path().join(list), &wanted).map_err(|error| error.to_string())?;
    let output = install(making.path()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("no word").to_owned());
    }
    if ready.exists() {
        fs::remove_dir_all(&ready).map_err(|error| error.to_string())?;
    }
    fs::rename(making.keep(), &ready).map_err(|error| error.to_string())?;
    Ok(ready)
}
