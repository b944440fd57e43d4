//! What it means when something cannot be resolved or fetched.

use super::Explanation;
use crate::bundle::image;
use crate::create::source::{self, Failure, FailureKind, archive, credentials};
use crate::create::{fetch, resolve};

/// A failure to resolve. One entry: its place, cause and hint. Several: each with its place as a cause of its own.
pub fn explain_resolve(error: &resolve::Error) -> Explanation {
    let place = |failure: &resolve::Failure| {
        format!("{}:{}:{}, component `{}`", error.file.display(), failure.at.line, failure.at.column, failure.component)
    };
    if let [failure] = error.failures.as_slice() {
        return Explanation { place: Some(place(failure)), ..explain_cause(&failure.cause) };
    }
    let mut told = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for failure in &error.failures {
        let explained = explain_cause(&failure.cause);
        let mut text = format!("{}: {}", place(failure), with_sources(&failure.cause));
        if let Some(cause) = explained.cause {
            text = format!("{text}: {cause}");
        }
        told.push(text);
        if let Some(hint) = explained.hint.filter(|hint| !hints.contains(hint)) {
            hints.push(hint);
        }
    }
    let hint = (!hints.is_empty()).then(|| hints.join("\n"));
    let exits = error.failures.iter().map(|failure| explain_cause(&failure.cause).exit);
    Explanation { exit: exits.max().unwrap_or(1), cause: Some(told.join("\n")), hint, place: None }
}

/// A failure to fetch.
pub fn explain_fetch(error: &fetch::Error) -> Explanation {
    match error {
        fetch::Error::Space { .. } => hint("make room there, or name another directory with --cache"),
        fetch::Error::Blob { source, .. } => {
            let explained = explain(source);
            let again = "run the same command again: it goes on where it stopped";
            Explanation { hint: Some(explained.hint.unwrap_or_else(|| again.to_owned())), ..explained }
        }
        fetch::Error::Store(source) => explain_store(source),
        fetch::Error::File(_) => failed(),
    }
}

/// A failure of an upstream, or of what it takes to ask one.
pub fn explain(error: &source::Error) -> Explanation {
    match error {
        source::Error::Client(_) => hint("look at the proxy variables (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"),
        source::Error::Certificate { .. } => usage("give --ca a file with certificates between `-----BEGIN CERTIFICATE-----` lines"),
        source::Error::Credentials(error) => explain_credentials(error),
        source::Error::Transport { host, source, .. } => explain_transport(host, source),
        source::Error::Status { status: 404, .. } => {
            hint("look for a typo in the name or tag; some registries also say 404 where a login is missing")
        }
        source::Error::Status { status: 407, .. } => proxy_login(),
        source::Error::Status { status: 429, host, .. } => {
            hint(&format!("`{host}` limits how often it is asked: log in there, or wait and run the same command again"))
        }
        source::Error::Status { .. } | source::Error::Short { .. } | source::Error::Ended { .. } => {
            hint("run the same command again: it goes on where it stopped")
        }
        source::Error::Denied { host, credentials, .. } => match credentials {
            Some(from) => {
                hint(&format!("the login in {from} was sent and does not suffice; log in again with an account that may read it"))
            }
            None => hint(&format!(
                "no login for `{host}` was found: `podman login {host}` or `docker login {host}` for images, ~/.netrc for files"
            )),
        },
        source::Error::Login { .. } => hint("if the host is one that speaks plain HTTP, name it with --plain-http"),
        source::Error::TooLarge { .. } => hint("what is there is no image that this program can carry"),
        source::Error::Size { .. } | source::Error::Wrong { .. } => Explanation {
            exit: 3,
            hint: Some("the upstream, or a proxy or mirror on the way, has damaged or replaced it; nothing of it was kept".to_owned()),
            ..Explanation::default()
        },
        source::Error::Archive(error) => explain_archive(error),
        source::Error::Store(error) => explain_store(error),
        source::Error::File(_) => failed(),
    }
}

fn explain_cause(cause: &resolve::Cause) -> Explanation {
    match cause {
        resolve::Cause::Source(error) => explain(error),
        resolve::Cause::Image(error) => explain_image(error),
        resolve::Cause::Foreign { .. } => hint("its licence keeps it on its owner's server: use an image without such a layer"),
        resolve::Cause::Differs { .. } => Explanation {
            exit: 3,
            hint: Some(
                "compare it with what its author publishes; when the new content is right, change sha256 in the definition".to_owned(),
            ),
            ..Explanation::default()
        },
        resolve::Cause::NoFile { .. } => usage("name a file; a directory is carried as an archive with `extract`"),
        resolve::Cause::TooManyDocuments => hint("split the package in two"),
        resolve::Cause::File(_) => usage("paths in the definition are beside it"),
        resolve::Cause::Store(error) => explain_store(error),
    }
}

fn explain_image(error: &image::Error) -> Explanation {
    match error {
        image::Error::NoPlatform { wanted, listed, .. } => {
            let text = |platforms: Vec<String>| if platforms.is_empty() { "no platform".to_owned() } else { platforms.join(", ") };
            let supported = |platform: &&crate::types::Platform| crate::types::Platform::supported().contains(platform);
            let usable: Vec<String> = listed.iter().filter(supported).map(ToString::to_string).collect();
            let pin =
                if usable.is_empty() { String::new() } else { format!("pin `platforms: [{}]` on this image, or ", usable.join(", ")) };
            Explanation {
                exit: 1,
                cause: Some(format!("its index lists {}", text(listed.iter().map(ToString::to_string).collect()))),
                hint: Some(format!("{pin}drop {wanted} from the package")),
                place: None,
            }
        }
        image::Error::Document { .. } | image::Error::Kind { .. } | image::Error::Missing { .. } => {
            hint("what the reference names is no image that containerd could run; look at it with `skopeo inspect --raw`")
        }
    }
}

fn explain_transport(host: &str, failure: &Failure) -> Explanation {
    match failure.kind {
        FailureKind::UnknownAuthority => hint(&format!(
            "the certificate of `{host}` is signed by someone this machine does not trust: name the authority with --ca FILE"
        )),
        FailureKind::BadCertificate => hint(&format!("compare the name `{host}` and the clock of this machine with that certificate")),
        FailureKind::NoTls => hint(&format!("`{host}` does not speak TLS: name it with --plain-http {host} if it may be asked without")),
        FailureKind::Unreachable => {
            hint(&format!("look for a typo in `{host}`, then at the network and the proxy variables (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"))
        }
        FailureKind::ProxyLogin => proxy_login(),
        FailureKind::PlainHttp => hint("name that host with --plain-http if it may be trusted"),
        FailureKind::Final => failed(),
        FailureKind::Passing => {
            hint("look at the network and the proxy variables, then run the same command again: it goes on where it stopped")
        }
    }
}

fn proxy_login() -> Explanation {
    hint("the proxy asks for a login: write it into the proxy variable, as in HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT")
}

fn explain_credentials(error: &credentials::Error) -> Explanation {
    match error {
        credentials::Error::File(_) => failed(),
        credentials::Error::Syntax { .. } | credentials::Error::Entry { .. } => {
            hint("log in again with `podman login` or `docker login`, which write it anew")
        }
        credentials::Error::Helper { helper, .. } => {
            hint(&format!("install `{helper}`, or log in with a tool that writes the login into the file"))
        }
        credentials::Error::Answer { helper, .. } => hint(&format!("try it by hand: echo HOST | {helper} get")),
    }
}

fn explain_archive(error: &archive::Error) -> Explanation {
    match error {
        archive::Error::Ambiguous { names, .. } => {
            let names: Vec<&str> = names.iter().map(|name| if name.is_empty() { "(without a name)" } else { name }).collect();
            Explanation { cause: Some(format!("it has {}", names.join(", "))), ..usage("say which with `image:` beside `archive:`") }
        }
        archive::Error::Nameless { said, .. } => {
            let cause = (!said.is_empty()).then(|| format!("it says only `{said}`"));
            Explanation { cause, ..usage("say what it is called with `image:` beside `archive:`") }
        }
        archive::Error::Kind { .. } => usage("make one with `skopeo copy … oci-archive:FILE` or `docker save -o FILE`"),
        archive::Error::Read { .. }
        | archive::Error::Member { .. }
        | archive::Error::Document { .. }
        | archive::Error::Missing { .. }
        | archive::Error::Wrong { .. } => hint("the archive is damaged or was made wrongly: make it again"),
        archive::Error::File(_) => usage("paths in the definition are beside it"),
    }
}

fn explain_store(error: &crate::store::Error) -> Explanation {
    use crate::store::Error;
    let full = match error {
        Error::File(error) => error.is_no_space(),
        Error::Write { source, .. } => matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded),
        _ => false,
    };
    match error {
        _ if full => hint("make room there, or name another directory with --cache; what was fetched is kept"),
        Error::Newer { .. } => hint("use the newer coracle, or another directory with --cache"),
        Error::Mismatch(_) | Error::Missing { .. } => hint("the cache was damaged or emptied: run the same command again"),
        Error::File(_) | Error::Read { .. } | Error::Write { .. } => hint("name a directory that can be written with --cache"),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn failed() -> Explanation {
    Explanation { exit: 1, ..Explanation::default() }
}

fn hint(text: &str) -> Explanation {
    Explanation { hint: Some(text.to_owned()), ..failed() }
}

fn usage(text: &str) -> Explanation {
    Explanation { exit: 2, hint: Some(text.to_owned()), ..Explanation::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::explain::render;
    use crate::create::definition::package::Location;
    use crate::types::Platform;

    fn no_platform(line: u32) -> resolve::Failure {
        let listed = ["linux/amd64", "linux/s390x"].map(|platform| platform.parse().unwrap()).to_vec();
        let reference = "quay.io/acme/api:2.1".parse().unwrap();
        let error = image::Error::NoPlatform { reference, wanted: Platform::linux_arm64(), listed };
        resolve::Failure { at: Location { line, column: 9 }, component: "api".parse().unwrap(), cause: error.into() }
    }

    fn absent(line: u32) -> resolve::Failure {
        let error = source::Error::Status {
            what: "quay.io/acme/web:9".to_owned(),
            host: "quay.io".to_owned(),
            status: 404,
            said: "MANIFEST_UNKNOWN: manifest unknown".to_owned(),
            retry_after: None,
        };
        resolve::Failure { at: Location { line, column: 9 }, component: "web".parse().unwrap(), cause: error.into() }
    }

    fn rendered(failures: Vec<resolve::Failure>) -> String {
        let error = resolve::Error { file: "coracle.yaml".into(), failures };
        let explanation = explain_resolve(&error);
        render(&anyhow::Error::new(error), &explanation)
    }

    #[test]
    fn says_what_failed_where_why_and_what_to_do() {
        insta::assert_snapshot!(rendered(vec![no_platform(31)]), @r"
        error: `quay.io/acme/api:2.1` has no image for linux/arm64
          in     coracle.yaml:31:9, component `api`
          cause  its index lists linux/amd64, linux/s390x
          hint   pin `platforms: [linux/amd64]` on this image, or drop linux/arm64 from the package
        ");
    }

    #[test]
    fn tells_all_failures_at_once() {
        insta::assert_snapshot!(rendered(vec![no_platform(31), absent(40)]), @r"
        error: 2 entries of `coracle.yaml` cannot be resolved
          cause  coracle.yaml:31:9, component `api`: `quay.io/acme/api:2.1` has no image for linux/arm64: its index lists linux/amd64, linux/s390x
                 coracle.yaml:40:9, component `web`: `quay.io` answered 404 for `quay.io/acme/web:9`: MANIFEST_UNKNOWN: manifest unknown
          hint   pin `platforms: [linux/amd64]` on this image, or drop linux/arm64 from the package
                 look for a typo in the name or tag; some registries also say 404 where a login is missing
        ");
    }
}
