//! Who is who: members, static instances, and the tickets of answers that come later.
//!
//! Invariants: a member id is made once ([`MemberId::generate`]) and never reused; an empty one
//! means "none yet", as a client says when it joins for the first time.
//! Not here: group ids (`model`).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest part of a client or instance id that is repeated in a member id, in bytes: the id is
/// kept, stored and sent many times, so a client cannot choose its size.
const MEMBER_PREFIX_BYTES_MAX: usize = 100;

/// A member's identity within its group, given out by the coordinator.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

/// A name a client chose for itself (`group.instance.id`), which outlives its member ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl MemberId {
    /// A new id: the instance or client id, a dash, and a version 4 UUID of 16 random bytes.
    pub fn generate(prefix: &str, random: [u8; 16]) -> Self {
        let mut end = prefix.len().min(MEMBER_PREFIX_BYTES_MAX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let uuid = model::TopicId::from_random(random);
        Self(format!("{}-{uuid}", &prefix[..end]).into())
    }

    /// Whether it stands for "none yet".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The id with this text.
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(MemberId);
text_id!(InstanceId);

/// Stands for one join or sync request whose answer may come later. The caller chooses the number
/// and must not use it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Stands for one [`Action::Store`](crate::Action::Store) until it is reported done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub(crate) u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_keeps_a_bounded_readable_prefix() {
        let id = MemberId::generate("app-1", [7; 16]);
        assert_eq!(id.as_str(), "app-1-07070707-0707-4707-8707-070707070707");
        let long = MemberId::generate(&"ü".repeat(500), [0; 16]);
        assert_eq!(long.as_str().len(), 100 + 1 + 36);
    }
}
