//! What a call of a listener comes to: an outcome for each record, and records that are made of them.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use delivery::Outcome;
use serde::Serialize;

/// What a call of a listener returns.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What a call came to.
///
/// ```
/// use dispatch::{Answer, Outcome, Output};
///
/// // Of three deliveries the second one made a record.
/// let mut answer = Answer::from(vec![Outcome::Done; 3]);
/// answer.outputs.push(Output::new("paid").of(1));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// One outcome for each delivery, in order. Missing ones count as failed.
    pub outcomes: Vec<Outcome>,
    /// Records for the topic that the resource names as `output`, in the order in which they are to stand there. Those of a
    /// delivery that is not taken do not count.
    pub outputs: Vec<Output>,
}

impl From<Vec<Outcome>> for Answer {
    fn from(outcomes: Vec<Outcome>) -> Self {
        Self {
            outcomes,
            outputs: Vec::new(),
        }
    }
}

/// A record that a listener makes of what it got.
///
/// It gets the key of its input, or the one it is given; `x-hlc`, later than its input's; and its input's trace, unless it brings
/// one. Its timestamp is the time of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub(crate) of: Option<usize>,
    pub(crate) key: Key,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Bytes)>,
}

/// Which key an output has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// That of its input.
    Inputs,
    Own(Option<Bytes>),
}

impl Output {
    /// A record with this value.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            of: None,
            key: Key::Inputs,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    /// A record with this value as JSON.
    ///
    /// # Errors
    /// What serde says of it.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let value = serde_json::to_vec(value)?;
        Ok(Self::new(value).with_header("content-type", "application/json"))
    }

    /// A record without value, which in a compacted topic deletes its key.
    pub fn tombstone() -> Self {
        Self {
            value: None,
            ..Self::new(Bytes::new())
        }
    }

    /// With another key than its input's.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Key::Own(Some(key.into()));
        self
    }

    /// Without a key. It goes to the partition that has its input's number.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.key = Key::Own(None);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Made of the n-th delivery of the call, from 0. One that does not say so is made of all of them: if they are several it has no
    /// key but its own, and counts when any of them is taken.
    #[must_use]
    pub fn of(mut self, delivery: usize) -> Self {
        self.of = Some(delivery);
        self
    }
}

/// What a typed listener makes of one record: nothing, a record, perhaps one, or several.
#[derive(Debug, Default)]
pub struct Outputs(pub(crate) Vec<Output>);

impl From<()> for Outputs {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Output> for Outputs {
    fn from(output: Output) -> Self {
        Self(vec![output])
    }
}

impl From<Option<Output>> for Outputs {
    fn from(output: Option<Output>) -> Self {
        Self(output.into_iter().collect())
    }
}

impl From<Vec<Output>> for Outputs {
    fn from(outputs: Vec<Output>) -> Self {
        Self(outputs)
    }
}
