//! The plan of a run: the frozen list of partitions with the version of every
//! object that they read. It is written once; whoever works on the run reads
//! the same one.

use std::io;

use serde::{Deserialize, Serialize};

use super::digest::sha256_hex;

/// What a plan is about; small, and created once: its existence is the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanHead {
    /// Version of this document.
    pub version: u32,
    /// Id of the run.
    pub run: String,
    /// When it was made, for people.
    pub created: String,
    /// The job file as it was.
    pub job: String,
    /// SHA-256 of the list of partitions, which names its object.
    pub digest: String,
    /// How many partitions there are.
    pub partitions: u64,
    /// Bytes of all inputs; a broadcast input counts once.
    pub bytes: u64,
    /// SHA-256 of the bundle, when it was known.
    pub model_digest: Option<String>,
    /// Inputs that all partitions read.
    pub broadcast: Vec<(String, Source)>,
    /// Keys that an input lacks, the first few.
    pub missing: Vec<MissingKey>,
    /// How many such keys there are.
    pub missing_count: u64,
}

/// Version of the documents of a run.
pub const VERSION: u32 = 1;

/// One unit of fetch, score, retry, commit and log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name within the run, safe in paths.
    pub id: String,
    /// What it reads, by input, without broadcast inputs.
    pub inputs: Vec<(String, Source)>,
    /// Path of its output below the output's folder.
    pub output: String,
}

/// One version of one object, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path below the folder of the input's template.
    pub path: String,
    /// Bytes of the object.
    pub size: u64,
    /// Which version; reading another is an error.
    pub etag: Option<String>,
    /// The part that is meant; the whole object where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Whole records of a text file.
    Records {
        /// Bytes of the header line, which stands at the beginning; 0 without one.
        header: u64,
        /// First byte.
        start: u64,
        /// Byte behind the last.
        end: u64,
        /// Number of the first record, counted from 0.
        first: u64,
    },
    /// Whole row groups of a Parquet file.
    RowGroups {
        /// Number of the first one, counted from 0.
        from: usize,
        /// Number behind the last one.
        to: usize,
        /// Their first byte.
        start: u64,
        /// Byte behind their last one.
        end: u64,
        /// First byte of the footer, which ends with the file.
        footer: u64,
        /// Number of the first row, counted from 0.
        first: u64,
    },
}

impl Source {
    /// Bytes that are read.
    pub fn bytes(&self) -> u64 {
        match self.part {
            None => self.size,
            Some(Part::Records { header, start, end, .. }) => header + end.saturating_sub(start),
            Some(Part::RowGroups { start, end, footer, .. }) => {
                end.saturating_sub(start) + self.size.saturating_sub(footer)
            }
        }
    }

    /// Number of the first row within the object.
    pub fn first_row(&self) -> u64 {
        match self.part {
            None => 0,
            Some(Part::Records { first, .. } | Part::RowGroups { first, .. }) => first,
        }
    }
}

/// A key that an input lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingKey {
    /// Id of the partition that there would be.
    pub partition: String,
    /// Inputs that lack it.
    pub inputs: Vec<String>,
}

impl Partition {
    /// Bytes that it reads.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, source)| source.bytes()).sum()
    }
}

/// The list of partitions as bytes, compressed line by line.
///
/// # Errors
/// The compressor failed.
pub fn encode(partitions: &[Partition]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    for partition in partitions {
        serde_json::to_writer(&mut encoder, partition)?;
        io::Write::write_all(&mut encoder, b"\n")?;
    }
    encoder.finish()
}

/// Reads the list of partitions that a head names.
///
/// # Errors
/// `InvalidData` when the bytes are not that list.
pub fn decode(head: &PlanHead, bytes: &[u8]) -> io::Result<Vec<Partition>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    if sha256_hex(bytes) != head.digest {
        return Err(invalid("the plan's list of partitions was changed".to_owned()));
    }
    let decoder = zstd::Decoder::new(bytes)?;
    let partitions = serde_json::Deserializer::from_reader(io::BufReader::new(decoder))
        .into_iter()
        .collect::<Result<Vec<Partition>, _>>()
        .map_err(|error| invalid(format!("the plan can't be read: {error}")))?;
    if partitions.len() as u64 != head.partitions {
        return Err(invalid(format!("the plan has {} partitions, not {}", partitions.len(), head.partitions)));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_plan_reads_back_and_a_changed_one_is_refused() {
        let partitions: Vec<Partition> = (0..100)
            .map(|number| Partition {
                id: format!("p={number}"),
                inputs: vec![(
                    "data".to_owned(),
                    Source {
                        path: format!("{number}.csv"),
                        size: 10,
                        etag: Some("e".to_owned()),
                        part: Some(Part::Records { header: 4, start: 4, end: 10, first: 0 }),
                    },
                )],
                output: format!("{number}.csv"),
            })
            .collect();
        let bytes = encode(&partitions).unwrap();
        let head = PlanHead {
            version: VERSION,
            run: "r".to_owned(),
            created: String::new(),
            job: String::new(),
            digest: sha256_hex(&bytes),
            partitions: 100,
            bytes: 1000,
            model_digest: None,
            broadcast: Vec::new(),
            missing: Vec::new(),
            missing_count: 0,
        };
        assert_eq!(decode(&head, &bytes).unwrap(), partitions);
        assert_eq!(partitions[0].bytes(), 10);
        assert!(decode(&PlanHead { digest: "other".to_owned(), ..head.clone() }, &bytes).is_err());
        assert!(decode(&PlanHead { partitions: 99, ..head }, &bytes).is_err());
    }
}
