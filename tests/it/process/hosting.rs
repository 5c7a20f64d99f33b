//! An emulator that is killed: its handler is an orphan and ends by itself.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::Command,
    time::{Duration, Instant},
};

use annika_devkit::functions_host::FunctionsHost;

use super::{host_options, stage_app, within};

/// The part of the emulator's process: started again by the test below, in a process that can be killed.
const PART: &str = "ANNIKA_TEST_EMULATOR_PART";

/// Runs an emulator until it is killed; does nothing unless the test below asked for it.
#[tokio::test]
async fn emulator_part() {
    let Some(folder) = std::env::var_os(PART).map(std::path::PathBuf::from) else { return };
    let mut options = host_options(&folder.join("app"));
    options.env.push(("REDIS_URL".to_owned(), "redis://127.0.0.1:1/".to_owned()));
    let host = FunctionsHost::start(options).await.unwrap();
    let pid = host.handler_pid().unwrap();
    fs::write(folder.join("pid.part"), pid.to_string()).unwrap();
    fs::rename(folder.join("pid.part"), folder.join("pid")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_handler_whose_emulator_is_killed_ends_by_itself_within_four_seconds() {
    let folder = tempfile::tempdir().unwrap();
    stage_app(&folder.path().join("app"));
    let mut emulator = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::hosting::emulator_part", "--nocapture"])
        .env(PART, folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid_file = folder.path().join("pid");
    within(20, "the emulator's handler", async || pid_file.exists()).await;
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let stat = format!("/proc/{pid}/stat");
    assert!(fs::exists(&stat).unwrap());
    emulator.kill().unwrap();
    let status = emulator.wait().unwrap();
    assert_eq!(status.signal(), Some(9));
    let killed = Instant::now();
    within(4, "the orphan is gone", async || {
        let state = fs::read_to_string(&stat).unwrap_or_default();
        state.is_empty() || state.rsplit(") ").next().unwrap().starts_with('Z')
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(4));
}
