//! How many requests run at once: for each host and in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The two bounds of a run.
#[derive(Debug)]
pub struct Limits {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// Held while a request runs, until its body has ended.
#[derive(Debug)]
pub struct Permit {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Limits {
    /// At most `all` requests in all and `per_host` for one host; at least one each.
    pub fn new(all: usize, per_host: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all.max(1))), per_host: per_host.max(1), hosts: Mutex::default() }
    }

    /// Waits for a turn. Who waits for a busy host holds none of the turns that others could use, and turns come in the order of asking.
    pub async fn permit(&self, host: &str) -> Permit {
        let of_host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_host))))
        };
        let host = of_host.acquire_owned().await.expect("never closed");
        let all = Arc::clone(&self.all).acquire_owned().await.expect("never closed");
        Permit { _host: host, _all: all }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_busy_host_does_not_hold_up_another() {
        let limits = Limits::new(3, 2);
        let first = limits.permit("a").await;
        let _second = limits.permit("a").await;
        assert!(limits.permit("a").now_or_never().is_none());
        let _other = limits.permit("b").now_or_never().unwrap();
        assert!(limits.permit("c").now_or_never().is_none());
        drop(first);
        assert!(limits.permit("c").now_or_never().is_some());
    }
}
