//! `coracle deploy` asks before anything is made, and `status` says where it looked in vain. The terminal is util-linux's `script`.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::lab;
use crate::workplace::{Workplace, words};

const DEPLOY: [&str; 6] = ["deploy", "real.tar.zst", "--key", "release.pub", "--root", "below/node"];

fn workplace() -> Workplace {
    let workplace = Workplace::new(&[], &[]);
    let component = "  - name: all\n    files: [{ content: \"hello\\n\", path: /etc/hello.conf }]\n";
    let definition = "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata: { name: real, version: 1.0.0 }\n\
                      platforms: [linux/amd64, linux/arm64]\ncomponents:\n";
    workplace.write("coracle.yaml", format!("{definition}{component}"));
    workplace.created(&[]);
    workplace
}

/// Deploys on a terminal where somebody types `answer`.
fn answered(workplace: &Workplace, answer: &str) -> Output {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_coracle"), DEPLOY.join(" "));
    let mut script = std::process::Command::new("script");
    script.args(["-qefc", &line, "/dev/null"]).current_dir(workplace.directory()).env("SHELL", "/bin/sh").env("TERM", "dumb");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn nothing_is_made_before_the_answer_and_all_after_a_yes() {
    let workplace = workplace();
    for args in [&["--plan"][..], &[]] {
        let output = workplace.coracle().args(DEPLOY).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(if args.is_empty() { 2 } else { 0 }), "{}", words(&output));
        assert!(words(&output).contains("file:/etc/hello.conf"), "{}", words(&output));
        assert!(!workplace.path("below").exists(), "{args:?} made it");
    }
    let output = answered(&workplace, "n\n");
    assert!(output.status.success() && words(&output).contains("nothing was changed"), "{}", words(&output));
    assert!(!workplace.path("below").exists(), "a no made it");

    let output = answered(&workplace, "y\n");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(std::fs::read_to_string(workplace.path("below/node/etc/hello.conf")).unwrap(), "hello\n");
    let status = lab::output(workplace.coracle().args(["status", "--root", "below/node"]));
    assert!(String::from_utf8(status).unwrap().starts_with("real 1.0.0  deployed"));
}

#[test]
fn a_directory_that_is_not_there_or_is_none_is_said_with_what_to_do() {
    let workplace = Workplace::new(&[], &[]);
    workplace.write("file", "");
    let hint = "  hint   nothing was made; --root takes the directory that was deployed into: \
                `coracle deploy BUNDLE --root DIR` makes it where it is missing\n";
    for name in ["nowhere", "file"] {
        let output = workplace.coracle().args(["status", "--root", name]).output().unwrap();
        assert_eq!((output.status.code(), words(&output)), (Some(2), format!("error: `{name}` is no directory\n{hint}")));
    }
    assert!(!workplace.path("nowhere").exists());
}
