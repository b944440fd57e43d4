//! How long seeding takes beside `ctr images import` of the same images.
