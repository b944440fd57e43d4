//! Upstreams in memory, for tests: documents, blobs and files, and failures on demand.
