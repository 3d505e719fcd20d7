//! What std lacks and every floor needs: byte sizes, durations and numbers of things as people write them,
//! errors with their causes, a timing wheel, a [broadcast] ring and a pool of buffers.
//!
//! Invariants: parsing and printing round-trip; nothing here allocates on a hot path or knows the
//! domain, reads a clock or starts a thread. Not here: clocks and files (`env`), the words of the house (`model`).
//!
//! ```
//! use stdx::{ByteSize, HumanDuration};
//! assert_eq!("64MiB".parse::<ByteSize>().unwrap().bytes(), 64 << 20);
//! assert_eq!("1h30m".parse::<HumanDuration>().unwrap().get().as_secs(), 5_400);
//! ```

pub mod broadcast;
mod byte_size;
mod causes;
mod counted;
mod human_duration;
mod pool;
mod quarters;
mod sync;
mod wheel;

pub use byte_size::{ByteSize, ParseByteSizeError};
pub use causes::causes;
pub use counted::Counted;
pub use human_duration::{HumanDuration, ParseDurationError};
pub use pool::{BufferPool, PoolBuffer, PoolCounts};
pub use wheel::TimingWheel;
