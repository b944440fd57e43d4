//! THE CARRIED THING. Knows neither side.
pub mod contents;
pub mod image;
pub mod parts;
pub mod trust;
