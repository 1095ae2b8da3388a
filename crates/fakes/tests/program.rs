//! The program: its one line, its end, and how it refuses to start.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_gust-fakes"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = start(arguments).wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn one_line_says_where_everything_listens_and_sigterm_ends_it_with_zero() {
    let mut child = start(&["--seed", "3", "--limits", "demo"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<&str> = ready.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ready",
            "started_unix_ns",
            "control",
            "buildkite",
            "gce",
            "run",
            "metadata"
        ]
    );
    assert_eq!(ready["ready"], true);
    for host in &keys[2..] {
        assert!(
            ready[*host].as_str().unwrap().starts_with("http://127.0.0.1:"),
            "{host}"
        );
    }
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing more on stdout");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_and_ends_it_with_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[ports]\nbuildkite = {port}").unwrap();
    let (code, stdout, stderr) = ended(&["--config", file.path().to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains(&format!(
            "the buildkite listener cannot be bound to 127.0.0.1:{port}"
        )),
        "{stderr}"
    );
}

#[test]
fn a_broken_configuration_is_refused_by_the_name_of_what_is_wrong() {
    for (text, expected) in [
        ("sed = 1", "unknown field `sed`"),
        ("[buildkite]\nclusters = []", "at least one cluster"),
        ("limits = \"nowhere.toml\"", "nowhere.toml cannot be read"),
        ("machines = \"simm\"", "unknown variant `simm`"),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{text}").unwrap();
        let (code, stdout, stderr) = ended(&["--config", file.path().to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{text}");
        assert!(stderr.contains(expected), "{text}: {stderr}");
    }
}

#[test]
fn the_ceiling_is_measured_and_printed_as_one_line() {
    let (code, stdout, stderr) = ended(&["--ceiling"]);
    assert_eq!(code, Some(0), "{stderr}");
    let line: Value = serde_json::from_str(&stdout).unwrap();
    for name in ["requests_per_s", "job_lives_per_s", "entries_per_job"] {
        assert!(line[name].as_f64().unwrap() > 0.0, "{name}: {line}");
    }
}
