//! The moment that a template may ask for, and what it was told: a prompt that names the date is another one tomorrow.

use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Error, ErrorKind, Value};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// One rendering's clock. It stands still.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    now: Duration,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Clock {
    /// A clock at so long after the epoch.
    pub(super) fn new(now: Duration) -> Self {
        Self { now, asked: Arc::default() }
    }

    /// `strftime_now(format)` of transformers.
    pub(super) fn strftime_now(&self) -> Value {
        let clock = self.clone();
        Value::from_function(move |format: &str| -> Result<String, Error> {
            let text = formatted(clock.now, format)
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
            let mut asked = clock.asked.lock();
            if !asked.iter().any(|(known, _)| known == format) {
                asked.push((format.to_owned(), text.clone()));
            }
            Ok(text)
        })
    }

    /// What the template was told so far.
    pub(super) fn dates(&self) -> Dates {
        Dates(self.asked.lock().clone())
    }
}

/// The formats that a rendering asked for, with what they gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dates(Vec<(String, String)>);

impl Dates {
    /// Would the template be told the same at that time after the epoch?
    pub fn hold(&self, now: Duration) -> bool {
        self.0.iter().all(|(format, text)| formatted(now, format).is_ok_and(|today| today == *text))
    }
}

/// In the system's time zone, as in transformers.
fn formatted(now: Duration, format: &str) -> Result<String, jiff::Error> {
    let moment = Timestamp::UNIX_EPOCH.checked_add(now)?;
    jiff::fmt::strtime::format(format, &moment.to_zoned(TimeZone::system()))
}
