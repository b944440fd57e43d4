//! When to try again, and how long to wait before it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Error;
use crate::event::{Event, Observer};

/// Bounds on trying again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries in a row without a byte of progress, the first one counted.
    pub tries: u32,
    /// The same for a host that has never answered in this run and cannot be reached: mostly a typo.
    pub tries_unreached: u32,
    /// The wait after the first failure; doubled after each further one.
    pub first: Duration,
    /// No wait of our own is longer.
    pub longest: Duration,
    /// No wait that an upstream asks for is longer.
    pub longest_asked: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 6,
            tries_unreached: 2,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            longest_asked: Duration::from_mins(5),
        }
    }
}

/// The hosts that have answered anything in this run.
#[derive(Debug, Default)]
pub struct Reached(Mutex<BTreeSet<String>>);

impl Reached {
    /// What a host gave, or why it gave nothing: an answer that refuses is an answer too.
    pub fn note<T>(&self, host: &str, outcome: Result<T, Error>) -> Result<T, Error> {
        if !matches!(outcome, Err(Error::Transport { .. })) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
        }
        outcome
    }

    fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}

/// Counts the failures of one request or transfer.
#[derive(Debug)]
pub struct Tries {
    patience: Patience,
    reached: Arc<Reached>,
    failed: u32,
    wrong: u32,
}

impl Tries {
    /// Nothing failed yet.
    pub fn new(patience: Patience, reached: Arc<Reached>) -> Self {
        Self { patience, reached, failed: 0, wrong: 0 }
    }

    /// Bytes came: what failed before them counts no longer. The number of bytes bounds how often this happens.
    pub fn progressed(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before another try; the error back where there is to be none.
    pub fn after(&mut self, error: Error) -> Result<Duration, Error> {
        if error.is_wrong_content() {
            self.wrong += 1;
            return if self.wrong > 1 { Err(error) } else { Ok(Duration::ZERO) };
        }
        self.failed += 1;
        let tries = match error.unreachable() {
            Some(host) if !self.reached.contains(host) => self.patience.tries_unreached,
            _ => self.patience.tries,
        };
        if !error.is_transient() || self.failed >= tries {
            return Err(error);
        }
        let own = self.patience.first.saturating_mul(1 << (self.failed - 1).min(16)).min(self.patience.longest);
        Ok(error.retry_after().map_or(own, |asked| asked.min(self.patience.longest_asked)))
    }

    /// Reports the failure and waits; the error back where there is to be no other try.
    pub async fn wait(&mut self, what: &str, error: Error, observer: &dyn Observer) -> Result<(), Error> {
        let cause = error.in_one_line();
        let after = self.after(error)?;
        observer.event(Event::Retrying { what: what.to_owned(), cause, after });
        tokio::time::sleep(after).await;
        Ok(())
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is compared with the answer's own `Date` where it has one.
pub fn retry_after(headers: &reqwest::header::HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = text("date").and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn busy(retry_after: Option<Duration>) -> Error {
        Error::Status { what: "a".into(), host: "h".into(), status: 503, said: "busy".into(), retry_after }
    }

    fn new(patience: Patience) -> Tries {
        Tries::new(patience, Arc::default())
    }

    #[test]
    fn waits_longer_each_time_and_gives_up() {
        let patience = Patience { tries: 4, first: Duration::from_secs(1), longest: Duration::from_secs(3), ..Patience::default() };
        let mut tries = new(patience);
        let waits: Vec<Option<u64>> = (0..4).map(|_| tries.after(busy(None)).ok().map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(3), None]);
        tries.progressed();
        assert_eq!(tries.after(busy(None)).unwrap(), Duration::from_secs(1));
    }

    #[test]
    fn waits_as_long_as_it_is_asked_to_but_not_for_ever() {
        let mut tries = new(Patience::default());
        assert_eq!(tries.after(busy(Some(Duration::from_secs(7)))).unwrap(), Duration::from_secs(7));
        assert_eq!(tries.after(busy(Some(Duration::from_hours(24)))).unwrap(), Duration::from_mins(5));
    }

    #[test]
    fn tries_wrong_bytes_once_more_and_a_missing_page_never() {
        let wrong = || Error::Size { what: "a".into(), host: "h".into(), expected: 1, got: 2 };
        let mut tries = new(Patience::default());
        assert!(tries.after(wrong()).is_ok());
        assert!(tries.after(wrong()).is_err());
        let missing = Error::Status { what: "a".into(), host: "h".into(), status: 404, said: String::new(), retry_after: None };
        assert!(new(Patience::default()).after(missing).is_err());
    }

    #[test]
    fn reads_seconds_and_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, date, seconds) in [
            ("12", None, Some(12)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT"), Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
            ("soon", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(value));
            if let Some(date) = date {
                headers.insert("date", HeaderValue::from_static(date));
            }
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
