//! Cutting one file into several partitions: after so many records, where a group
//! of records ends, or between row groups.

use futures_util::stream::TryStreamExt;

use super::PlanError;
use crate::batch::job::Split;
use crate::batch::plan::{Part, Partition, Source};
use crate::batch::records::RecordEnds;
use crate::batch::sites::{self, InputSite};
use crate::frame::format::Format;
use crate::frame::parquet::{RowGroup, RowGroups, TAIL, footer_length};

/// Longest record that is looked at for its group, in bytes.
const MAX_RECORD: usize = 16 << 20;

/// Cuts a partition's only input.
pub(super) async fn split(site: &InputSite, whole: Partition, split: &Split) -> Result<Vec<Partition>, PlanError> {
    let Some((name, source)) = whole.inputs.first().cloned() else { return Ok(vec![whole]) };
    let parts = match (site.format, split) {
        (_, Split::None) => return Ok(vec![whole]),
        (Format::Csv | Format::Ndjson, split) => records(site, &source, split).await?,
        (Format::Parquet, Split::Rows(rows)) => row_groups(site, &source, *rows).await?,
        (Format::Parquet, Split::GroupBy(_)) => {
            return Err(PlanError::Job(vec![
                "partition.split: a Parquet file is cut between its row groups, after rows:N at the earliest; write a \
                 file per group instead"
                    .to_owned(),
            ]));
        }
        (format, _) => {
            return Err(PlanError::Job(vec![format!(
                "partition.split: {format} files are not split; write several files instead"
            )]));
        }
    };
    let (stem, extension) = whole.output.rsplit_once('.').unwrap_or((&whole.output, ""));
    Ok(parts
        .into_iter()
        .enumerate()
        .map(|(number, part)| Partition {
            id: format!("{}.part-{number:06}", whole.id),
            inputs: vec![(name.clone(), Source { part: Some(part), ..source.clone() })],
            output: format!("{stem}-{number:06}.{extension}"),
        })
        .collect())
}

/// Cuts a text file in one pass.
async fn records(site: &InputSite, source: &Source, split: &Split) -> Result<Vec<Part>, PlanError> {
    let trouble = |error| PlanError::Store(sites::trouble(error));
    let mut cutter = Cutter::new(site.format, split);
    let (_, mut stream) = site.store.get_stream(&source.path, source.etag.as_deref()).await.map_err(trouble)?;
    while let Some(piece) = stream.try_next().await.map_err(trouble)? {
        cutter.push(&piece).map_err(|problem| PlanError::Job(vec![format!("{}: {problem}", source.path)]))?;
    }
    cutter.finish().map_err(|problem| PlanError::Job(vec![format!("{}: {problem}", source.path)]))
}

/// Cuts a Parquet file by its footer alone.
async fn row_groups(site: &InputSite, source: &Source, rows: u64) -> Result<Vec<Part>, PlanError> {
    let problem = |problem: &dyn std::fmt::Display| PlanError::Job(vec![format!("{}: {problem}", source.path)]);
    let read = |range| async move {
        let bytes = site.store.get_range(&source.path, range, source.etag.as_deref()).await;
        bytes.map_err(|error| PlanError::Store(sites::trouble(error)))
    };
    let tail = source.size.checked_sub(TAIL as u64).ok_or_else(|| problem(&"it is too short for a Parquet file"))?;
    let end: [u8; TAIL] = (&*read(tail..source.size).await?).try_into().map_err(|error| problem(&error))?;
    let length = footer_length(end).map_err(|error| problem(&error.detail()))?;
    let footer = source.size.checked_sub(length).ok_or_else(|| problem(&"its footer is longer than the file"))?;
    let groups = RowGroups::read(&read(footer..source.size).await?).and_then(|groups| groups.all());
    let groups = groups.map_err(|error| problem(&error.detail()))?;
    if groups.iter().any(|group| group.bytes.end > footer) {
        return Err(problem(&"a row group is said to lie behind the end of the data"));
    }
    Ok(join_groups(&groups, rows, footer))
}

/// As many row groups together as have so many rows, but one at least.
fn join_groups(groups: &[RowGroup], rows: u64, footer: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut from, mut before) = (0, 0);
    while from < groups.len().max(1) {
        let mut to = from;
        let mut count = 0;
        while to < groups.len() && (to == from || groups[to].rows.saturating_add(count) <= rows) {
            count = groups[to].rows.saturating_add(count);
            to += 1;
        }
        let bytes = groups[from..to].iter().map(|group| &group.bytes);
        let start = bytes.clone().map(|bytes| bytes.start).min().unwrap_or(0);
        let end = bytes.map(|bytes| bytes.end).max().unwrap_or(0);
        parts.push(Part::RowGroups { from, to, start, end, footer, first: before });
        before = count.saturating_add(before);
        // A file without row groups is one part.
        from = to.max(from + 1);
    }
    parts
}

/// Finds the cuts of one file.
struct Cutter {
    ends: RecordEnds,
    /// Bytes of the header; none before it was seen, 0 where there is none.
    header: Option<u64>,
    rows: u64,
    groups: Option<Groups>,
    /// Of the part that is being read.
    start: u64,
    first: u64,
    /// Records before the current position.
    records: u64,
    parts: Vec<Part>,
    end: u64,
}

/// How groups are told apart.
struct Groups {
    names: Vec<String>,
    format: Format,
    /// Positions of the columns in a CSV record.
    columns: Vec<usize>,
    /// The bytes since the last record.
    held: Vec<u8>,
    current: Option<Vec<String>>,
    seen: std::collections::HashSet<Vec<String>>,
}

impl Cutter {
    fn new(format: Format, split: &Split) -> Self {
        let (rows, groups) = match split {
            Split::Rows(rows) => (*rows, None),
            Split::GroupBy(names) => (
                u64::MAX,
                Some(Groups {
                    names: names.clone(),
                    format,
                    columns: Vec::new(),
                    held: Vec::new(),
                    current: None,
                    seen: std::collections::HashSet::new(),
                }),
            ),
            Split::None => (u64::MAX, None),
        };
        let csv = format == Format::Csv;
        Self {
            ends: if csv { RecordEnds::csv() } else { RecordEnds::lines() },
            header: (!csv).then_some(0),
            rows,
            groups,
            start: 0,
            first: 0,
            records: 0,
            parts: Vec::new(),
            end: 0,
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut ends = Vec::new();
        self.ends.push(piece, |record| ends.push(record.end));
        let mut from = 0;
        let before = self.end;
        self.end += piece.len() as u64;
        for end in ends {
            let to = usize::try_from(end - before).unwrap_or(piece.len());
            self.record(&piece[from..to], end)?;
            from = to;
        }
        self.hold(&piece[from..])
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(groups) = &mut self.groups {
            groups.held.extend_from_slice(bytes);
            if groups.held.len() > MAX_RECORD {
                return Err(format!("row {} is longer than {MAX_RECORD} bytes", self.records));
            }
        }
        Ok(())
    }

    /// Takes the last bytes of a record that ends at `end`.
    fn record(&mut self, bytes: &[u8], end: u64) -> Result<(), String> {
        self.hold(bytes)?;
        let held = self.groups.as_mut().map(|groups| std::mem::take(&mut groups.held)).unwrap_or_default();
        if self.header.is_none() {
            self.header = Some(end);
            self.start = end;
            if let Some(groups) = &mut self.groups {
                groups.read_header(&held)?;
            }
            return Ok(());
        }
        let cut_before = match &mut self.groups {
            Some(groups) => groups.begins_group(&held, self.records)?,
            None => self.records - self.first >= self.rows,
        };
        if cut_before && self.records > self.first {
            self.cut(end - held_length(&self.groups, &held, bytes));
        }
        self.records += 1;
        self.last_end(end);
        Ok(())
    }

    /// Where the records so far end; a cut by rows is made when the next one comes.
    fn last_end(&mut self, end: u64) {
        if self.groups.is_none() && self.records - self.first == self.rows {
            self.cut(end);
        }
    }

    fn cut(&mut self, end: u64) {
        let header = self.header.unwrap_or(0);
        self.parts.push(Part::Records { header, start: self.start, end, first: self.first });
        self.start = end;
        self.first = self.records;
    }

    fn finish(mut self) -> Result<Vec<Part>, String> {
        let mut last = None;
        self.ends.finish(|record| last = Some(record.end));
        if let Some(end) = last {
            self.record(&[], end)?;
        }
        if self.records > self.first || self.parts.is_empty() {
            let end = self.end;
            self.cut(end);
        }
        Ok(self.parts)
    }
}

/// Bytes of the record that was just read: all of them are held where groups are
/// told apart.
fn held_length(groups: &Option<Groups>, held: &[u8], bytes: &[u8]) -> u64 {
    match groups {
        Some(_) => held.len() as u64,
        None => bytes.len() as u64,
    }
}

impl Groups {
    fn read_header(&mut self, bytes: &[u8]) -> Result<(), String> {
        let names = fields(bytes)?;
        for name in &self.names {
            let position = names.iter().position(|other| other == name);
            self.columns.push(position.ok_or_else(|| {
                format!("partition.split: there is no column '{name}'; there are {}", names.join(", "))
            })?);
        }
        Ok(())
    }

    /// Whether a record is the first of its group.
    ///
    /// # Errors
    /// The file is not sorted: a group that was over comes again.
    fn begins_group(&mut self, bytes: &[u8], row: u64) -> Result<bool, String> {
        let key = self.key(bytes).map_err(|problem| format!("row {row}: {problem}"))?;
        if self.current.as_ref() == Some(&key) {
            return Ok(false);
        }
        if !self.seen.insert(key.clone()) {
            return Err(format!(
                "row {row}: the group {} comes again after another; sort the file by {}",
                key.join(", "),
                self.names.join(", ")
            ));
        }
        self.current = Some(key);
        Ok(true)
    }

    fn key(&self, bytes: &[u8]) -> Result<Vec<String>, String> {
        if self.format == Format::Csv {
            let fields = fields(bytes)?;
            return Ok(self.columns.iter().map(|&column| fields.get(column).cloned().unwrap_or_default()).collect());
        }
        let record: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(self.names.iter().map(|name| record.get(name).map(ToString::to_string).unwrap_or_default()).collect())
    }
}

fn fields(bytes: &[u8]) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    match reader.records().next() {
        Some(Ok(record)) => Ok(record.iter().map(str::to_owned).collect()),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn cut(text: &str, format: Format, split: &Split, piece: usize) -> Result<Vec<(u64, String)>, String> {
        let mut cutter = Cutter::new(format, split);
        for piece in text.as_bytes().chunks(piece) {
            cutter.push(piece)?;
        }
        let parts = cutter.finish()?;
        Ok(parts
            .into_iter()
            .map(|part| match part {
                Part::Records { header, start, end, first } => {
                    let range =
                        |from: u64, to: u64| &text[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
                    (first, format!("{}{}", range(0, header), range(start, end)))
                }
                Part::RowGroups { .. } => panic!("a text file has none"),
            })
            .collect())
    }

    #[test]
    fn rows_are_counted_and_the_header_goes_with_each_part() {
        let text = "x,y\n1,\"a\nb\"\n2,b\n3,c\n4,d\n5,e";
        for piece in [1, 3, 100] {
            let parts = cut(text, Format::Csv, &Split::Rows(2), piece).unwrap();
            let expected = [(0, "x,y\n1,\"a\nb\"\n2,b\n"), (2, "x,y\n3,c\n4,d\n"), (4, "x,y\n5,e")];
            assert_eq!(parts, expected.map(|(first, text)| (first, text.to_owned())));
        }
        let parts = cut("{\"x\":1}\n{\"x\":2}\n", Format::Ndjson, &Split::Rows(1), 4).unwrap();
        assert_eq!(parts, [(0, "{\"x\":1}\n".to_owned()), (1, "{\"x\":2}\n".to_owned())]);
    }

    #[test]
    fn groups_stay_together() {
        let by = Split::GroupBy(vec!["g".to_owned()]);
        for piece in [1, 5, 100] {
            let parts = cut("x,g\n1,a\n2,a\n3,b\n4,c\n5,c\n", Format::Csv, &by, piece).unwrap();
            let expected = [(0, "x,g\n1,a\n2,a\n"), (2, "x,g\n3,b\n"), (3, "x,g\n4,c\n5,c\n")];
            assert_eq!(parts, expected.map(|(first, text)| (first, text.to_owned())), "{piece}");
        }
        let error = cut("x,g\n1,a\n2,b\n3,a\n", Format::Csv, &by, 7).unwrap_err();
        assert!(error.contains("row 2") && error.contains("sort the file by g"), "{error}");
        let error = cut("x,h\n1,a\n", Format::Csv, &by, 7).unwrap_err();
        assert!(error.contains("no column 'g'"), "{error}");
    }

    #[test]
    fn row_groups_are_joined_up_to_the_number_of_rows_and_never_cut() {
        let group = |rows, bytes| RowGroup { rows, bytes };
        let groups = [group(2, 4..10), group(2, 10..20), group(7, 20..30), group(1, 30..31), group(0, 31..31)];
        let parts = |rows| {
            join_groups(&groups, rows, 40).into_iter().map(|part| match part {
                Part::RowGroups { from, to, start, end, footer: 40, first } => (from..to, start..end, first),
                other => panic!("{other:?}"),
            })
        };
        assert!(parts(4).eq([(0..2, 4..20, 0), (2..3, 20..30, 4), (3..5, 30..31, 11)]));
        assert!(parts(1).eq([(0..1, 4..10, 0), (1..2, 10..20, 2), (2..3, 20..30, 4), (3..5, 30..31, 11)]));
        assert!(parts(100).eq([(0..5, 4..31, 0)]));
        assert_eq!(join_groups(&[], 4, 4), [Part::RowGroups { from: 0, to: 0, start: 0, end: 0, footer: 4, first: 0 }]);
    }

    #[test]
    fn an_empty_file_is_one_part() {
        assert_eq!(cut("x,y\n", Format::Csv, &Split::Rows(2), 9).unwrap(), [(0, "x,y\n".to_owned())]);
    }
}
