//! Clients of containerd's services, as `cargo xtask codegen` makes them from `xtask/proto`.

macro_rules! generated {
    ($($name:ident),*) => {$(
        #[rustfmt::skip]
        #[expect(unused_qualifications, clippy::allow_attributes_without_reason, reason = "generated; the API is documented by containerd")]
        pub mod $name;
    )*};
}

#[rustfmt::skip]
#[expect(
    unused_qualifications, clippy::allow_attributes_without_reason, clippy::trivially_copy_pass_by_ref,
    reason = "generated; the API is documented by containerd"
)]
pub mod content;

generated!(diff, images, introspection, leases, snapshots, version);

#[rustfmt::skip]
pub mod types;
