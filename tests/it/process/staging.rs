//! Mis-staged apps: each is ended by the emulator with what the host would say.

use std::{fs, os::unix::fs::PermissionsExt};

use annika_devkit::functions_host::{FunctionsHost, HostError};
use serde_json::Value;

use super::{host_options, say, stage_app};

async fn refused(what: &str, root: &std::path::Path) -> HostError {
    match FunctionsHost::start(host_options(root)).await {
        Ok(_) => panic!("{what}: the app was started"),
        Err(error) => {
            say(&format!("mis-staged, {what}: {error}"));
            error
        }
    }
}

#[tokio::test]
async fn one_level_too_deep_holds_no_functions() {
    let folder = tempfile::tempdir().unwrap();
    stage_app(folder.path());
    fs::create_dir(folder.path().join("functions")).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("function.json").exists() {
            fs::rename(entry.path(), folder.path().join("functions").join(entry.file_name())).unwrap();
        }
    }
    let functions = fs::read_dir(folder.path().join("functions")).unwrap().count();
    let error = refused("one level too deep", folder.path()).await;
    assert!(matches!(&error, HostError::NoFunctions { deeper, .. } if deeper.len() == functions), "{error}");
    assert!(error.to_string().starts_with("No job functions found."), "{error}");
}

#[tokio::test]
async fn a_binary_without_the_exec_bit_cannot_be_started() {
    let folder = tempfile::tempdir().unwrap();
    stage_app(folder.path());
    let binary = folder.path().join("annika");
    fs::remove_file(&binary).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_annika"), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused("no exec bit", folder.path()).await;
    assert!(matches!(error, HostError::Spawn { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("Failed to start Worker Channel. Process fileName: "), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
}

#[tokio::test]
async fn another_version_than_2_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    stage_app(folder.path());
    let file = folder.path().join("host.json");
    let mut host: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    host["version"] = "3.0".into();
    fs::write(&file, host.to_string()).unwrap();
    let error = refused("version 3.0", folder.path()).await;
    assert!(matches!(error, HostError::Config { .. }), "{error}");
    assert!(error.to_string().contains("host.json"), "{error}");
}
