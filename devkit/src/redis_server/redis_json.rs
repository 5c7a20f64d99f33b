//! A stand-in for the RedisJSON module, compiled on the spot, so that tests meet values of its type.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::RedisServerError;

const SOURCE: &str = include_str!("redis_json.c");

/// Compiles the module into `folder`; start a server with `--loadmodule` and this path. Blocking.
///
/// Takes the compiler that `CC` names, else `cc`.
///
/// # Errors
/// [`RedisServerError::Io`] or [`RedisServerError::Compile`] if there is no C compiler or it refuses.
pub fn redis_json_module(folder: &Path) -> Result<PathBuf, RedisServerError> {
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
