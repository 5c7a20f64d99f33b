//! What to try next, as commands that run as they stand.

use super::Addresses;
use crate::graph::seed;

/// A Redis client for a machine without redis-cli: sends its arguments as one command and prints what comes back.
const CLIENT: &str = r#"annika_redis() { python3 -c '
import os, socket, sys, urllib.parse as u
at = u.urlsplit(os.environ["ANNIKA_DEV_REDIS"]); s = socket.create_connection((at.hostname, at.port or 6379))
def send(*words): s.sendall(b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in map(os.fsencode, words)]))
def line(): return (f.readline() or sys.exit("Redis closed the connection")).rstrip(b"\r\n").decode()
def reply():
    kind, rest = (lambda l: (l[:1], l[1:]))(line())
    if kind == "$": return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode()
    return [reply() for _ in range(int(rest))] if kind == "*" else rest
f = s.makefile("rb"); ask = lambda *w: (send(*w), reply())[1]
if at.password: ask("AUTH", *([u.unquote(at.username)] if at.username else []), u.unquote(at.password))
if at.path.strip("/"): ask("SELECT", at.path.strip("/"))
print(ask(*sys.argv[1:]), flush=True)
while sys.argv[1].upper() == "SUBSCRIBE": print(reply(), flush=True)
' "$@"; }"#;

/// The hints. `shared` says that Redis is the user's own, whose address may hold a password and is not printed.
pub(super) fn hints(at: &Addresses, shared: bool, redis_cli: bool, log: &str) -> String {
    let Addresses { handler, function_key: key, redis, graph } = at;
    let plan = seed::PLAN;
    let (shown, named) =
        if shared { ("$REDIS_URL", "\"$REDIS_URL\"".to_owned()) } else { (redis.as_str(), redis.clone()) };
    let (prepare, client) = if redis_cli {
        (String::new(), format!("redis-cli -u {named}"))
    } else {
        (format!("\n    export ANNIKA_DEV_REDIS={named}\n{CLIENT}"), "annika_redis".to_owned())
    };
    let redis_url = if shared { String::new() } else { format!(" REDIS_URL={redis}") };
    format!(
        r#"
Everything is up, and stays up until Ctrl-C.

  Planner as a person sees it   {graph}/__sim/
  the product's HTTP API        {handler}    function key {key}
  Redis                         {shown}
  log of host and handler       {log}

Try next:

  An agent makes a task by HTTP; look for it in Planner:
    curl -sS {handler}/api/tasks -H 'x-functions-key: {key}' -H 'content-type: application/json' -d '{{"id":"plants","title":"Water the plants","plan_id":"{plan}"}}'
  It is done by half:
    curl -sS -X PATCH {handler}/api/tasks/plants -H 'x-functions-key: {key}' -H 'content-type: application/json' -d '{{"percent_complete":0.5}}'
  Rename it in Planner (the page above), do not wait for the next full or half minute, and read it:
    curl -sS -X POST {handler}/api/sync/poll -H 'x-functions-key: {key}'
    curl -sS {handler}/api/tasks/plants -H 'x-functions-key: {key}'
  How the sync is doing:
    curl -sS {handler}/api/health/ready -H 'x-functions-key: {key}'
  The same with raw Redis:{prepare}
    {client} SET annika:tasks:lamp '{{"id":"lamp","title":"Change the lamp","plan_id":"{plan}"}}'
    {client} PUBLISH annika:tasks:updates '{{"action":"created","task_id":"lamp","task":null,"source":"agent"}}'
    {client} GET annika:tasks:lamp
    {client} LRANGE annika:sync:log 0 4
  The programs of docs/AGENTS-GUIDE.md (docs/agents) take their addresses from here:
    export ANNIKA_URL={handler} ANNIKA_KEY={key}{redis_url}
    sh docs/agents/agent.sh
  Follow what happens (Ctrl-C ends it):
    {client} SUBSCRIBE annika:tasks:updates annika:tasks:sync annika:pubsub:tasks
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            handler: "http://127.0.0.1:7079".to_owned(),
            function_key: "k3y".to_owned(),
            redis: "redis://:s3same@127.0.0.1:6390/".to_owned(),
            graph: "http://127.0.0.1:9999".to_owned(),
        }
    }

    #[test]
    fn every_command_has_the_real_port_and_key() {
        let text = hints(&addresses(), false, true, "a.log");
        let curls: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("curl")).collect();
        assert_eq!(curls.len(), 5);
        assert!(
            curls.iter().all(|line| line.contains("127.0.0.1:7079/api") && line.contains(": k3y'")),
            "{text}"
        );
        assert!(text.contains("redis-cli -u redis://:s3same@127.0.0.1:6390/ SET"), "{text}");
    }

    #[test]
    fn the_address_of_a_shared_redis_is_not_shown() {
        for redis_cli in [false, true] {
            let text = hints(&addresses(), true, redis_cli, "a.log");
            assert!(!text.contains("s3same"), "{text}");
            assert!(text.contains("$REDIS_URL"), "{text}");
        }
    }

    #[tokio::test]
    async fn the_client_for_machines_without_redis_cli_works() {
        use std::{
            io::{BufRead, BufReader},
            process::{Command, Stdio},
        };

        let options =
            crate::redis_server::RedisOptions { password: Some("p@ss".to_owned()), ..Default::default() };
        let server = crate::redis_server::RedisServer::start(options).await.unwrap();
        let shell = |line: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{CLIENT}\n{line}")]).env("ANNIKA_DEV_REDIS", server.url());
            shell
        };
        let said = |line: &str| {
            let output = shell(line).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        assert_eq!(said(r#"annika_redis SET a '{"title":"Blümchen"}'"#), "OK");
        assert_eq!(said("annika_redis GET a"), r#"{"title":"Blümchen"}"#);
        assert_eq!(said("annika_redis MGET a b"), r#"['{"title":"Blümchen"}', None]"#);

        let mut listener = shell("annika_redis SUBSCRIBE c d").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "['subscribe', 'c', '1']");
        assert_eq!(lines.next().unwrap(), "['subscribe', 'd', '2']");
        assert_eq!(said("annika_redis PUBLISH d hello"), "1");
        assert_eq!(lines.next().unwrap(), "['message', 'd', 'hello']");
        // The shell's child reads until the server is gone.
        drop(server);
        listener.wait().unwrap();
    }
}
