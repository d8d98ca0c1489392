//! Where the records of a text file begin and end. A line break within quotes is
//! part of its field, so that a CSV file can't be cut at just any of them.

/// Finds the ends of records in bytes that come in pieces of any size.
#[derive(Debug, Clone)]
pub struct RecordEnds {
    quoted: bool,
    /// Whether quotes mean anything, as in CSV and not in NDJSON.
    quotes: bool,
    position: u64,
    /// Whether anything but a line end has come since the last record.
    begun: bool,
}

impl RecordEnds {
    /// Of comma-separated values.
    pub fn csv() -> Self {
        Self { quoted: false, quotes: true, position: 0, begun: false }
    }

    /// Of lines.
    pub fn lines() -> Self {
        Self { quotes: false, ..Self::csv() }
    }

    /// Reports the position behind each record that ends in these bytes. Empty lines
    /// are no records; they count to the one before.
    pub fn push(&mut self, bytes: &[u8], mut ended: impl FnMut(u64)) {
        for &byte in bytes {
            self.position += 1;
            match byte {
                b'"' if self.quotes => {
                    self.quoted = !self.quoted;
                    self.begun = true;
                }
                b'\n' if !self.quoted => {
                    if self.begun {
                        ended(self.position);
                    }
                    self.begun = false;
                }
                b'\r' => {}
                _ => self.begun = true,
            }
        }
    }

    /// Reports the end of a last record without a line end.
    pub fn finish(&mut self, mut ended: impl FnMut(u64)) {
        if self.begun {
            ended(self.position);
        }
        self.begun = false;
    }
}

/// The bytes of records by number, counted from 0, without their line ends, in
/// the order of `wanted`, which ascends. What isn't there is empty.
pub fn raw_records<'a>(bytes: &'a [u8], mut ends: RecordEnds, header: bool, wanted: &[u64]) -> Vec<&'a [u8]> {
    let mut found = vec![&bytes[..0]; wanted.len()];
    let mut next = 0;
    let mut start = 0usize;
    // A header is no record.
    let mut number = if header { None } else { Some(0u64) };
    let mut take = |end: u64| {
        let end = usize::try_from(end).unwrap_or(bytes.len());
        if let Some(number) = number
            && wanted.get(next) == Some(&number)
        {
            found[next] = bytes[start..end].trim_ascii();
            next += 1;
        }
        start = end;
        number = Some(number.map_or(0, |number| number + 1));
    };
    ends.push(bytes, &mut take);
    ends.finish(&mut take);
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use proptest::prelude::*;

    use super::*;

    fn ends(pieces: &[&[u8]], mut ends: RecordEnds) -> Vec<u64> {
        let mut found = Vec::new();
        for piece in pieces {
            ends.push(piece, |end| found.push(end));
        }
        ends.finish(|end| found.push(end));
        found
    }

    #[test]
    fn line_breaks_within_quotes_end_nothing() {
        let text = b"a,b\n1,\"x\ny\"\n\"say \"\"hi\"\"\n\",2\r\n\n3,4";
        assert_eq!(ends(&[text], RecordEnds::csv()), [4, 12, 29, 33]);
        assert_eq!(raw_records(text, RecordEnds::csv(), true, &[0, 2]), [&b"1,\"x\ny\""[..], b"3,4"]);
        assert_eq!(ends(&[b"{\"a\":1}\n{\"a\":\"\\\"\"}\n"], RecordEnds::lines()).len(), 2);
    }

    proptest! {
        #[test]
        fn records_are_those_that_a_csv_reader_sees(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z\",\n\r ]{0,6}", 2..3), 1..12),
            cut in 1usize..20,
        ) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let found = ends(&pieces, RecordEnds::csv());
            prop_assert_eq!(found.len(), rows.len());
            let mut start = 0;
            for (end, row) in found.into_iter().zip(&rows) {
                let end = usize::try_from(end).unwrap();
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[start..end]);
                let read: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
                prop_assert_eq!(read.len(), 1);
                prop_assert_eq!(read[0].iter().collect::<Vec<_>>(), row.iter().map(String::as_str).collect::<Vec<_>>());
                start = end;
            }
        }
    }
}
