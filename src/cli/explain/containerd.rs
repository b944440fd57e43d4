//! What a person does about a containerd that does not answer, or refuses.

use super::Explanation;
use crate::deploy::host::linux::containerd::Error;

/// Exit status and hint of an error between a node and its containerd.
pub fn explain(error: &Error) -> Explanation {
    let hint = match error {
        Error::Absent { .. } => {
            "install and start containerd (`systemctl enable --now containerd`), or name its socket with --containerd-address"
        }
        Error::NotListening { .. } => {
            "start containerd: `systemctl restart containerd`, then `journalctl -u containerd` if it does not stay up"
        }
        Error::Denied { .. } => "run the command as root (sudo), or name a socket that this user may use with --containerd-address",
        Error::Connect { .. } | Error::NotContainerd { .. } => "check that --containerd-address names containerd's gRPC socket",
        Error::Runtime(_) => "the system lets no more threads start: look at `ulimit -u` and free memory",
        Error::NoSnapshotter { .. } => "load the kernel module `overlay`, then restart containerd; `ctr plugins ls` shows what fails",
        Error::Call { .. } => "look at `journalctl -u containerd`, then run the same command again: it goes on where it stopped",
        Error::Flush(_) => "look at the file system that containerd keeps its data on (`df`, `dmesg`), then run the same command again",
        Error::Lost { .. } => {
            "start containerd (`systemctl restart containerd`), then run the same command again: it goes on where it stopped"
        }
        Error::Blob { .. } => "run the same command again with the bundle at hand: a blob that is damaged in the store is brought in again",
        Error::Content { .. } | Error::Unpacked { .. } => "the image was damaged or made wrong; run `coracle verify` on the bundle",
        Error::Configuration { .. } => "the image cannot be unpacked by containerd; check it where the bundle was created",
    };
    let cause = match error {
        Error::NoSnapshotter { found } if !found.is_empty() => Some(found.join("\n")),
        _ => None,
    };
    let exit = if matches!(error, Error::Content { .. } | Error::Unpacked { .. }) { 3 } else { 1 };
    Explanation { exit, cause, hint: Some(hint.to_owned()), ..Explanation::default() }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;

    #[test]
    fn an_absent_containerd_is_said_with_what_to_do() {
        let error = Error::Absent { address: "/run/containerd/containerd.sock".into() };
        let explanation = explain(&error);
        let expected = "error: there is no containerd at `/run/containerd/containerd.sock`\n  hint   install and start containerd (`systemctl enable --now containerd`), or name its socket with --containerd-address";
        assert_eq!((render(&error.into(), &explanation).as_str(), explanation.exit), (expected, 1));
    }

    #[test]
    fn each_snapshotter_that_fails_is_a_cause() {
        let found = vec!["overlayfs: no such device".to_owned(), "native: unknown".to_owned()];
        let error = Error::NoSnapshotter { found };
        let explanation = explain(&error);
        let expected = "error: containerd has neither `overlayfs` nor `native` as a working snapshotter\n  cause  overlayfs: no such device\n         native: unknown\n  hint   load the kernel module `overlay`, then restart containerd; `ctr plugins ls` shows what fails";
        assert_eq!(render(&error.into(), &explanation), expected);
    }
}
