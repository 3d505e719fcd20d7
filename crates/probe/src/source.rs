//! A file of procfs that is opened once and read again and again from its start.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why a collector could not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This kernel does not have the file.
    #[error("{path} does not exist on this kernel")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file does not look as expected.
    #[error("{path} is not as expected: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: &'static str,
    },
}

/// One file and the buffer its text is read into.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

/// What a file's text starts with room for; it grows to what the kernel has.
const BUFFER_BYTES: usize = 4_096;

impl Source {
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        Self {
            path: root.join(name),
            file: None,
            buffer: Vec::new(),
        }
    }

    /// The whole text now. Bytes that are not UTF-8 end it: no kernel file of ours has any.
    pub(crate) fn text(&mut self) -> Result<&str, Error> {
        match self.fill() {
            Ok(length) => {
                let bytes = &self.buffer[..length];
                Ok(match std::str::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()])
                        .expect("valid_up_to is a boundary"),
                })
            }
            Err(source) => {
                // A device or namespace may have gone; open anew next time.
                self.file = None;
                let path = self.path.clone();
                if source.kind() == io::ErrorKind::NotFound {
                    return Err(Error::Missing { path });
                }
                Err(Error::Io { path, source })
            }
        }
    }

    /// An error about this file's format.
    pub(crate) fn format_error(&self, reason: &'static str) -> Error {
        Error::Format {
            path: self.path.clone(),
            reason,
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            let read = match file.read_at(&mut self.buffer[length..], length as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            if read == 0 {
                return Ok(length);
            }
            length += read;
            if length == self.buffer.len() {
                self.buffer.resize(length * 2, 0);
            }
        }
    }
}

/// The number a field holds; a field that is no number reads as NaN and is not reported.
pub(crate) fn number(field: &str) -> f64 {
    field.parse().unwrap_or(f64::NAN)
}
