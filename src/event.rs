//! What the library reports while it works; `cli` draws it. The library itself never prints.

use std::time::Duration;

/// Where events go. Implementations return at once: they are called from worker threads.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Reports to nobody, for tests and for callers that want the result alone.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// Something that happened. Names are as a person would write them (a reference, a URL, a path), never with a credential in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stage began; `bytes` where the work of the whole stage is known.
    StageStarted {
        /// Which.
        stage: Stage,
        /// Bytes to work through in all, where that is known.
        bytes: Option<u64>,
    },
    /// The stage goes on: this many more bytes are done.
    StageProgress {
        /// Which.
        stage: Stage,
        /// Bytes since the event before.
        bytes: u64,
    },
    /// A stage ended well.
    StageFinished {
        /// Which.
        stage: Stage,
        /// What was done, in a few words: `5 images × 2 platforms, 3 files`.
        summary: String,
    },
    /// One transfer began.
    TransferStarted {
        /// Tells transfers of a run apart.
        id: u64,
        /// What is transferred.
        name: String,
        /// Bytes that are still to come.
        bytes: Option<u64>,
    },
    /// One transfer goes on.
    TransferProgress {
        /// Which.
        id: u64,
        /// Bytes since the event before.
        bytes: u64,
    },
    /// One transfer ended, well or not.
    TransferFinished {
        /// Which.
        id: u64,
    },
    /// Something failed and is tried again after a while.
    Retrying {
        /// What failed.
        what: String,
        /// Because of what.
        cause: String,
        /// How long until it is tried again.
        after: Duration,
    },
    /// A step of a deploy began.
    StepStarted {
        /// The step as the plan prints it.
        step: String,
    },
    /// A step of a deploy ended well.
    StepFinished {
        /// The step as the plan prints it.
        step: String,
    },
    /// Something that a person should know and that stops nothing.
    Warning {
        /// What, on what, and what to do about it.
        message: String,
    },
}

/// The stages that a person sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// References are resolved.
    Resolve,
    /// Content is fetched into the cache.
    Fetch,
    /// The bundle is written.
    Write,
    /// A bundle's content is checked.
    Verify,
    /// A deploy looks at the node.
    Facts,
    /// A deploy brings blobs into the store.
    Stage,
    /// A deploy changes the node.
    Apply,
}
