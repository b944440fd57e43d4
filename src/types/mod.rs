//! Words of the field as types, parsed at the rim and trusted inside. Knows nothing else of this crate.

mod descriptor;
mod digest;
mod media_type;
mod name;
pub mod oci;
mod platform;
mod reference;
mod size;

pub use descriptor::Descriptor;
pub use digest::{Digest, InvalidDigest};
pub use media_type::MediaType;
pub use name::{ComponentName, FileMode, InvalidName, NodePath, PackageName, VariableName};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{ImageReference, InvalidReference};
pub use size::ByteSize;
