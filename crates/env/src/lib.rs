//! The seam to the world: clock, disk and entropy, real and simulated.
//!
//! Everything below the services reaches the machine through these three traits, so that a test can
//! put a simulated machine in its place: [`SimClock`] moves only when told, [`SeededEntropy`] repeats
//! itself, [`SimDisk`] loses, tears and reorders what was not synced, flips bits, fails and fills up.
//! [`Overlay`] lets code that changes files run over a disk that must not change; [`Reserve`] keeps room for when a disk is full.
//!
//! Invariants: only this crate names `std::fs`; no call here decides anything about the data.
//! Not here: formats of files (`commitlog`, `broker`), timers of services (tokio's).
//!
//! ```
//! use std::path::Path;
//! use env::{Disk, Open, SimDisk};
//!
//! let disk = SimDisk::new(7);
//! disk.create_dir_all(Path::new("/data")).unwrap();
//! let file = disk.open(Path::new("/data/a"), Open::CreateNew).unwrap();
//! file.write_all_at(b"never synced", 0).unwrap();
//! disk.crash();
//! // The directory entry was not synced either, so the file may be gone altogether.
//! assert!(file.read_at(&mut [0; 4], 0).is_err(), "handles end with the machine");
//! ```

mod atomic_file;
mod clock;
mod disk;
mod entropy;
mod overlay;
mod real_disk;
mod reserve;
mod sim_disk;

pub use atomic_file::{TEMPORARY_SUFFIX, read_all, write_atomic, write_atomic_with};
pub use clock::{Clock, DynClock, RealClock, SimClock};
pub use disk::{Disk, DiskFile, DiskLock, DynDisk, DynFile, Entry, LockError, Open, Space};
pub use entropy::{DynEntropy, Entropy, RealEntropy, SeededEntropy};
pub use overlay::Overlay;
pub use real_disk::RealDisk;
pub use reserve::{Reserve, is_full};
pub use sim_disk::{Faults, SimDisk, Survival, Uncached};
