//! What topics there are: the catalog, and how it is written.
//!
//! Invariants: a topic's id never changes and is never given to another; a catalog that was damaged
//! is noticed by its checksum and never half believed; unknown versions are refused.
//!
//! One small text file, `catalog`, replaced whole: a line `lantern catalog 1 CRC32C`, then JSON.
//! Format: `docs/format/catalog.md`. Why a file and not a log: `docs/decisions/0006-topic-metadata.md`.
//! Not here: when it is written (`topics`) and how it is replaced atomically (`store`).

use std::collections::{BTreeMap, BTreeSet};

use model::limits::{GROUPS_TOPIC, PARTITIONS_MAX};
use model::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::{TopicConfig, TopicInfo};

/// Everything the catalog holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// Grows by one with every version written.
    pub(crate) generation: u64,
    /// Producer ids below this may have been given out.
    pub(crate) producer_ids_until: i64,
    /// Topics that exist.
    pub(crate) topics: BTreeMap<TopicName, TopicEntry>,
    /// Topics that were deleted and whose files may still be there.
    pub(crate) deleting: Vec<Deletion>,
    /// Log directories beside the data directory, by number. One that was known once stays known.
    pub(crate) log_dirs: BTreeMap<u16, LogDirEntry>,
}

/// One topic of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicEntry {
    pub(crate) id: TopicId,
    pub(crate) partitions: u32,
    pub(crate) config: TopicConfig,
    /// The log directory of each partition; of those behind its end, and of all where it is empty, the data directory.
    pub(crate) places: Vec<u16>,
}

/// A log directory of the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogDirEntry {
    /// What its mark says, 32 hexadecimal digits.
    pub(crate) id: String,
    /// Where it was last.
    pub(crate) path: String,
    /// It has been marked: without its mark it is not the one it was.
    #[serde(default = "yes")]
    pub(crate) marked: bool,
}

fn yes() -> bool {
    true
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    /// The log directories of its partitions; where none is named, it may have been in any.
    pub(crate) places: BTreeSet<u16>,
}

impl Deletion {
    /// Whether files of it may be in that log directory.
    pub(crate) fn may_be_in(&self, log_dir: u16) -> bool {
        self.places.is_empty() || self.places.contains(&log_dir)
    }
}

/// The number of the data directory among the log directories.
pub(crate) const DATA_DIR: u16 = 0;

impl TopicEntry {
    pub(crate) fn info(&self, name: &TopicName) -> TopicInfo {
        TopicInfo {
            name: name.clone(),
            id: self.id,
            partitions: self.partitions,
            config: self.config.clone(),
        }
    }

    /// What is left of it when it is deleted.
    pub(crate) fn deletion(&self, name: &TopicName, log_dirs: bool) -> Deletion {
        let places = (0..self.partitions).map(|number| self.place(number));
        Deletion {
            name: name.clone(),
            id: self.id,
            places: places.filter(|_| log_dirs).collect(),
        }
    }

    /// The number of a partition's log directory.
    pub(crate) fn place(&self, number: u32) -> u16 {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.places.get(index).copied().unwrap_or(DATA_DIR)
    }
}

/// Why bytes are not a catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The first line is not one of ours.
    #[error("the first line is not 'lantern catalog 1 CHECKSUM'")]
    Header,
    /// It was written by a newer Lantern.
    #[error("it has format version {version}, this Lantern reads version 1")]
    Version {
        /// The version found.
        version: u32,
    },
    /// Its bytes changed since they were written.
    #[error("its checksum is {computed:#010x}, written was {expected:#010x}")]
    Checksum {
        /// As the file says.
        expected: u32,
        /// As its bytes say.
        computed: u32,
    },
    /// The checksum is right and the content is not.
    #[error("its JSON is not a catalog")]
    Json(#[source] serde_json::Error),
    /// A log directory in it cannot be.
    #[error("log directory {number} in it cannot be")]
    LogDir {
        /// Its number.
        number: u16,
    },
    /// A topic in it cannot be.
    #[error("topic '{topic}' in it cannot be: {reason}")]
    Topic {
        /// The topic.
        topic: TopicName,
        /// Why not.
        reason: String,
    },
}

const MAGIC: &str = "lantern catalog";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    generation: u64,
    producer_ids_until: i64,
    topics: Vec<WrittenTopic>,
    deleting: Vec<WrittenDeleting>,
    /// Not there where all is in the data directory, so that an older Lantern reads on, and refuses what it would not find.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    log_dirs: BTreeMap<u16, LogDirEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTopic {
    name: TopicName,
    id: String,
    partitions: u32,
    config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    places: Vec<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeleting {
    name: TopicName,
    id: String,
    /// Not there where all is in the data directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    places: BTreeSet<u16>,
}

impl Catalog {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let written = Written {
            generation: self.generation,
            producer_ids_until: self.producer_ids_until,
            topics: self
                .topics
                .iter()
                .map(|(name, entry)| WrittenTopic {
                    name: name.clone(),
                    id: entry.id.to_string(),
                    partitions: entry.partitions,
                    config: entry.config.to_map(),
                    places: entry.places.clone(),
                })
                .collect(),
            deleting: self
                .deleting
                .iter()
                .map(|deletion| WrittenDeleting {
                    name: deletion.name.clone(),
                    id: deletion.id.to_string(),
                    places: deletion.places.clone(),
                })
                .collect(),
            log_dirs: self.log_dirs.clone(),
        };
        let mut body =
            serde_json::to_vec_pretty(&written).expect("numbers, text and lists are always JSON");
        body.push(b'\n');
        let mut file = format!("{MAGIC} {VERSION} {:08x}\n", crc32c::crc32c(&body)).into_bytes();
        file.append(&mut body);
        file
    }

    /// Reads the bytes of the file.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, CatalogError> {
        let end = file
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(CatalogError::Header)?;
        let (line, body) = (&file[..end], &file[end + 1..]);
        let expected = header(line)?;
        let computed = crc32c::crc32c(body);
        if expected != computed {
            return Err(CatalogError::Checksum { expected, computed });
        }
        let written: Written = serde_json::from_slice(body).map_err(CatalogError::Json)?;
        if written.log_dirs.contains_key(&DATA_DIR) {
            return Err(CatalogError::LogDir { number: DATA_DIR });
        }
        let mut topics = BTreeMap::new();
        for topic in written.topics {
            let refuse = |reason: String| CatalogError::Topic {
                topic: topic.name.clone(),
                reason,
            };
            // Memory is set aside for each of them.
            let most = match topic.name.as_str() {
                GROUPS_TOPIC => 1,
                _ => PARTITIONS_MAX,
            };
            if !(1..=most).contains(&topic.partitions) {
                return Err(refuse(format!(
                    "it has 1 to {most} partitions, not {}",
                    topic.partitions
                )));
            }
            let known = |number: &u16| *number == DATA_DIR || written.log_dirs.contains_key(number);
            let placed = u32::try_from(topic.places.len()).unwrap_or(u32::MAX);
            if placed > topic.partitions || !topic.places.iter().all(known) {
                return Err(refuse(format!("bad places {:?}", topic.places)));
            }
            if topic.name.is_internal() && !topic.places.is_empty() {
                return Err(refuse("its place is the data directory".to_owned()));
            }
            let entries = topic
                .config
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            let entry = TopicEntry {
                id: parse_id(&topic.id).ok_or_else(|| refuse(format!("bad id {}", topic.id)))?,
                partitions: topic.partitions,
                config: TopicConfig::from_entries(&TopicConfig::default(), entries)
                    .map_err(|error| refuse(error.to_string()))?,
                places: topic.places.clone(),
            };
            topics.insert(topic.name, entry);
        }
        let mut deleting = Vec::new();
        for topic in written.deleting {
            let id = parse_id(&topic.id).ok_or_else(|| CatalogError::Topic {
                topic: topic.name.clone(),
                reason: format!("bad id {}", topic.id),
            })?;
            deleting.push(Deletion {
                name: topic.name,
                id,
                places: topic.places,
            });
        }
        Ok(Self {
            generation: written.generation,
            producer_ids_until: written.producer_ids_until,
            topics,
            deleting,
            log_dirs: written.log_dirs,
        })
    }

    /// Partitions in each log directory that has any, without Lantern's own.
    pub(crate) fn partitions_by_place(&self) -> BTreeMap<u16, usize> {
        let mut counts = BTreeMap::new();
        let topics = self.topics.iter().filter(|(name, _)| !name.is_internal());
        for (_, entry) in topics {
            for number in 0..entry.partitions {
                *counts.entry(entry.place(number)).or_default() += 1;
            }
        }
        counts
    }
}

/// The checksum in the first line.
fn header(line: &[u8]) -> Result<u32, CatalogError> {
    let line = std::str::from_utf8(line).map_err(|_| CatalogError::Header)?;
    let rest = line.strip_prefix(MAGIC).ok_or(CatalogError::Header)?;
    let (version, checksum) = rest.trim().split_once(' ').ok_or(CatalogError::Header)?;
    let version: u32 = version.parse().map_err(|_| CatalogError::Header)?;
    if version != VERSION {
        return Err(CatalogError::Version { version });
    }
    u32::from_str_radix(checksum, 16).map_err(|_| CatalogError::Header)
}

/// A topic id as [`TopicId`] prints it.
pub(crate) fn parse_id(text: &str) -> Option<TopicId> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let id = TopicId::from_bytes(bytes);
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Catalog {
        let mut config = TopicConfig::default();
        config.set("retention.ms", Some("1000")).unwrap();
        Catalog {
            generation: 3,
            producer_ids_until: 2_000,
            topics: [(
                "orders".parse().unwrap(),
                TopicEntry {
                    id: TopicId::from_random([7; 16]),
                    partitions: 3,
                    config,
                    places: vec![],
                },
            )]
            .into(),
            deleting: vec![Deletion {
                name: "old".parse().unwrap(),
                id: TopicId::from_random([9; 16]),
                places: BTreeSet::new(),
            }],
            log_dirs: BTreeMap::new(),
        }
    }

    fn placed(places: &[u16]) -> Catalog {
        let mut catalog = sample();
        let dir = LogDirEntry {
            id: "07".repeat(16),
            path: "/mnt/b".to_owned(),
            marked: true,
        };
        catalog.log_dirs.insert(2, dir);
        for entry in catalog.topics.values_mut() {
            entry.places = places.to_vec();
        }
        catalog
    }

    #[test]
    fn a_catalog_reads_back_as_written() {
        for catalog in [Catalog::default(), sample(), placed(&[2, 0])] {
            assert_eq!(Catalog::decode(&catalog.encode()).unwrap(), catalog);
        }
    }

    #[test]
    fn where_all_is_in_one_directory_nothing_is_said_of_others() {
        let file = String::from_utf8(sample().encode()).unwrap();
        assert!(
            !file.contains("log_dirs") && !file.contains("places"),
            "{file}"
        );
    }

    #[test]
    fn partitions_are_only_where_there_can_be_some() {
        let catalog = placed(&[2, 0]);
        let counts = catalog.partitions_by_place();
        assert_eq!(
            counts,
            BTreeMap::from([(0, 2), (2, 1)]),
            "the third has no place of its own"
        );
        for bad in [&[1][..], &[2, 3], &[2, 2, 2, 2]] {
            let error = Catalog::decode(&placed(bad).encode()).unwrap_err();
            assert!(error.to_string().contains("bad places"), "{bad:?}: {error}");
        }
        let mut moved = placed(&[2]);
        let (_, entry) = moved.topics.pop_first().unwrap();
        let groups = TopicEntry {
            partitions: 1,
            ..entry
        };
        moved.topics.insert(GROUPS_TOPIC.parse().unwrap(), groups);
        assert!(Catalog::decode(&moved.encode()).is_err());
        let mut first = sample();
        let dir = placed(&[]).log_dirs[&2].clone();
        first.log_dirs.insert(DATA_DIR, dir);
        assert!(Catalog::decode(&first.encode()).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let file = sample().encode();
        for index in 0..file.len() {
            let mut changed = file.clone();
            changed[index] ^= 0x04;
            assert!(Catalog::decode(&changed).is_err(), "byte {index}");
            assert!(Catalog::decode(&file[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn numbers_of_partitions_that_cannot_be_are_refused_before_anything_is_made_of_them() {
        for (topic, partitions, good) in [
            ("orders", 0, false),
            ("orders", 1, true),
            ("orders", PARTITIONS_MAX, true),
            ("orders", PARTITIONS_MAX + 1, false),
            ("orders", u32::MAX, false),
            (GROUPS_TOPIC, 1, true),
            (GROUPS_TOPIC, 2, false),
        ] {
            let mut catalog = sample();
            let (_, mut entry) = catalog.topics.pop_first().unwrap();
            entry.partitions = partitions;
            catalog.topics.insert(topic.parse().unwrap(), entry);
            let read = Catalog::decode(&catalog.encode());
            assert_eq!(read.is_ok(), good, "{topic} {partitions}");
            if let Err(error) = read {
                let said = error.to_string();
                assert!(said.contains(topic) && said.contains("has 1 to "), "{said}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_number() {
        let error = Catalog::decode(b"lantern catalog 2 00000000\n{}").unwrap_err();
        assert!(matches!(error, CatalogError::Version { version: 2 }));
    }

    #[test]
    fn ids_are_read_only_as_they_are_printed() {
        let id = TopicId::from_random([0xab; 16]);
        assert_eq!(parse_id(&id.to_string()), Some(id));
        for text in ["", "abc", &id.to_string().replace('-', ""), &"z".repeat(36)] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
