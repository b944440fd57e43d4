//! Progress of one transfer, told in steps that a person can see.

use crate::event::{Event, Observer, Stage};

/// Progress is told after so many bytes, and at the end.
const STEP: u64 = 256 << 10;

/// One transfer, from its first event to its last, which comes when this is dropped.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    stage: Stage,
    id: u64,
    told: u64,
    reached: u64,
}

impl<'a> Progress<'a> {
    /// Tells that a transfer begins, of which `bytes` are to come and `present` are there.
    pub fn start(observer: &'a dyn Observer, stage: Stage, id: u64, name: String, bytes: Option<u64>, present: u64) -> Self {
        observer.event(Event::TransferStarted { id, name, bytes });
        Self { observer, stage, id, told: present, reached: present }
    }

    /// Where events go.
    pub fn observer(&self) -> &'a dyn Observer {
        self.observer
    }

    /// These bytes were there already.
    pub fn found(&mut self, offset: u64) {
        self.told = self.told.max(offset);
        self.reached = self.reached.max(offset);
    }

    /// So far it has come. After a start over nothing is told until the old place is reached: progress is never taken back.
    pub fn reached(&mut self, offset: u64) {
        self.reached = self.reached.max(offset);
        if self.reached - self.told >= STEP {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let bytes = std::mem::replace(&mut self.told, self.reached);
        let bytes = self.reached - bytes;
        if bytes > 0 {
            self.observer.event(Event::TransferProgress { id: self.id, bytes });
            self.observer.event(Event::StageProgress { stage: self.stage, bytes });
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.tell();
        self.observer.event(Event::TransferFinished { id: self.id });
    }
}
