//! The RedisJSON module for tests: a stand-in that is compiled on the spot, or the real one from a wheel.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    RedisServerError,
    wheel::{REDISJSON, local_folder},
};

const SOURCE: &str = include_str!("redis_json.c");

/// The module that `ANNIKA_REDIS_JSON` names; start a server with `--loadmodule` and this path. Blocking.
///
/// Unset or empty: a stand-in for values of its type, compiled into `folder` with the compiler that `CC` names, else
/// `cc`. `redisjson`: the real module, fetched (Linux on x86_64; it needs a Redis of version 7). Else a path.
///
/// # Errors
/// [`RedisServerError`]: no C compiler, or it refuses; no such module, or it cannot be fetched.
pub fn redis_json_module(folder: &Path) -> Result<PathBuf, RedisServerError> {
    let choice = std::env::var("ANNIKA_REDIS_JSON").unwrap_or_default();
    match choice.as_str() {
        "" => compile(folder),
        "redisjson" => REDISJSON.fetch(&local_folder()),
        path if Path::new(path).is_file() => Ok(PathBuf::from(path)),
        other => Err(RedisServerError::Module { choice: other.to_owned() }),
    }
}

fn compile(folder: &Path) -> Result<PathBuf, RedisServerError> {
    let (source, module) = (folder.join("redis_json.c"), folder.join("redis_json.so"));
    let io = |what| move |source| RedisServerError::Io { what, source };
    std::fs::write(&source, SOURCE).map_err(io("writing the RedisJSON stand-in"))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&module, &source])
        .output()
        .map_err(io("starting the C compiler"))?;
    if output.status.success() {
        return Ok(module);
    }
    Err(RedisServerError::Compile { why: String::from_utf8_lossy(&output.stderr).into_owned() })
}
