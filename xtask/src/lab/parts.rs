//! What the lab has, with versions.

/// Debian's packages.
pub const APT: [&str; 20] = [
    "containerd",
    "containernetworking-plugins",
    "runc",
    "podman",
    "skopeo",
    "umoci",
    "busybox-static",
    "qemu-user-static",
    "apache2-utils",
    "openssl",
    "zstd",
    "jq",
    "iproute2",
    "e2fsprogs",
    "xfsprogs",
    "systemd-container",
    "mmdebstrap",
    // C compilers of the static builds, see dist.rs
    "musl-tools",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
];

/// The version of the licence and dependency check.
pub const CARGO_DENY: &str = "0.20.2";

/// A program that is built from the modules of Go.
pub struct GoProgram {
    /// Its name in the lab.
    pub name: &'static str,
    /// Package and version.
    pub package: &'static str,
    /// For which architecture.
    pub arch: &'static str,
}

const fn amd64(name: &'static str, package: &'static str) -> GoProgram {
    GoProgram { name, package, arch: "amd64" }
}

const PODINFO: &str = "github.com/stefanprodan/podinfo/cmd/podinfo@v1.8.1-0.20250910200901-e86405a8674e";

/// The programs, those that the others need first.
pub const GO: [GoProgram; 6] = [
    amd64("registry", "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"),
    amd64("crane", "github.com/google/go-containerregistry/cmd/crane@v0.22.1"),
    amd64("podinfo", PODINFO),
    GoProgram { name: "podinfo-arm64", package: PODINFO, arch: "arm64" },
    // The official suite for registries, run against the node registry.
    amd64("conformance", "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"),
    amd64("cosign", "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"),
];

/// A containerd of the second series, beside Debian's of the first.
pub const CONTAINERD: &str = "v2.4.2";

/// What is in the tree of a node with systemd, beside Debian's smallest.
pub const NODE: &str = "systemd,systemd-sysv,dbus,iproute2,procps,kmod,mount,containerd,runc,busybox-static";
