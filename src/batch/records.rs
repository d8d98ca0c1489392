//! Where the records of a text file begin and end, by the rules of the decoders: a
//! line break within quotes is part of its field, quotes mean something at the
//! beginning of a field alone, and blank lines are no records.

use std::ops::Range;

use csv_core::{ReadFieldResult, Reader};

use crate::frame::stream::ByteOrderMark;

/// Finds records in bytes that come in pieces of any size. There are no clones: that of a
/// `csv_core::Reader` (0.1.13) finds other fields than the reader itself.
#[derive(Debug)]
pub struct RecordEnds {
    mark: ByteOrderMark,
    /// Bytes that came, and bytes that were looked at.
    came: u64,
    position: u64,
    /// Where the record, or the line, that is arriving begins.
    start: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Csv {
        reader: Box<Reader>,
        /// Whether a record has begun.
        begun: bool,
        /// A record ended with a carriage return, whose line feed may come.
        returned: bool,
    },
    Lines {
        /// Whether anything but blanks has come in the line.
        begun: bool,
    },
}

impl RecordEnds {
    /// Of comma-separated values.
    pub fn csv() -> Self {
        Self::new(Form::Csv { reader: Box::new(Reader::new()), begun: false, returned: false })
    }

    /// Of lines.
    pub fn lines() -> Self {
        Self::new(Form::Lines { begun: false })
    }

    fn new(form: Form) -> Self {
        Self { mark: ByteOrderMark::default(), came: 0, position: 0, start: 0, form }
    }

    /// Reports where each record that ends in these bytes lies, with its line end.
    pub fn push(&mut self, bytes: &[u8], ended: impl FnMut(Range<u64>)) {
        self.came += bytes.len() as u64;
        let mut mark = std::mem::take(&mut self.mark);
        if let Some(bytes) = mark.strip(bytes) {
            if self.position == 0 {
                self.position = self.came - bytes.len() as u64;
                self.start = self.position;
            }
            self.look(&bytes, ended);
        }
        self.mark = mark;
    }

    /// Reports a last record without a line end.
    pub fn finish(&mut self, mut ended: impl FnMut(Range<u64>)) {
        let held = self.mark.take();
        self.look(&held, &mut ended);
        let all = self.start..self.position;
        match &mut self.form {
            Form::Csv { begun, returned, .. } if *begun || *returned => {
                (*begun, *returned) = (false, false);
                ended(all);
            }
            Form::Lines { begun } if *begun => {
                *begun = false;
                ended(all);
            }
            _ => {}
        }
    }

    fn look(&mut self, bytes: &[u8], mut ended: impl FnMut(Range<u64>)) {
        let Self { position, start, form, .. } = self;
        match form {
            Form::Csv { reader, begun, returned } => {
                let mut rest = bytes;
                // What a field says is of no interest here.
                let mut text = [0; 4096];
                while let Some(&next) = rest.first() {
                    if *returned {
                        let feed = usize::from(next == b'\n');
                        *position += feed as u64;
                        rest = &rest[feed..];
                        *returned = false;
                        ended(*start..*position);
                        continue;
                    }
                    if !*begun {
                        if matches!(next, b'\r' | b'\n') {
                            *position += 1;
                            rest = &rest[1..];
                            continue;
                        }
                        *begun = true;
                        *start = *position;
                    }
                    let (result, taken, _) = reader.read_field(rest, &mut text);
                    let last = taken.checked_sub(1).and_then(|last| rest.get(last)).copied();
                    *position += taken as u64;
                    rest = &rest[taken..];
                    if matches!(result, ReadFieldResult::Field { record_end: true }) {
                        *begun = false;
                        *returned = last == Some(b'\r');
                        if !*returned {
                            ended(*start..*position);
                        }
                    }
                }
            }
            Form::Lines { begun } => {
                for &byte in bytes {
                    *position += 1;
                    *begun |= !byte.is_ascii_whitespace();
                    if byte == b'\n' {
                        if *begun {
                            ended(*start..*position);
                        }
                        *begun = false;
                        *start = *position;
                    }
                }
            }
        }
    }
}

/// A record without its line end.
pub fn without_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// The bytes of records by number, counted from 0, without their line ends, in
/// the order of `wanted`, which ascends. What isn't there is empty.
pub fn raw_records<'a>(bytes: &'a [u8], mut ends: RecordEnds, header: bool, wanted: &[u64]) -> Vec<&'a [u8]> {
    let mut found = vec![&bytes[..0]; wanted.len()];
    let mut next = 0;
    // A header is no record.
    let mut number = if header { None } else { Some(0u64) };
    let mut take = |record: Range<u64>| {
        let place = |position: u64| usize::try_from(position).unwrap_or(bytes.len());
        if let Some(number) = number
            && wanted.get(next) == Some(&number)
        {
            found[next] = without_line_end(&bytes[place(record.start)..place(record.end)]);
            next += 1;
        }
        number = Some(number.map_or(0, |number| number + 1));
    };
    ends.push(bytes, &mut take);
    ends.finish(&mut take);
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::format::Format;
    use crate::frame::schema::Schema;
    use crate::frame::stream::{OnMisfit, StreamOptions, decoder};

    fn records(pieces: &[&[u8]], mut ends: RecordEnds) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let place = |position: u64| usize::try_from(position).unwrap();
        for piece in pieces {
            ends.push(piece, |record| found.push(place(record.start)..place(record.end)));
        }
        ends.finish(|record| found.push(place(record.start)..place(record.end)));
        found
    }

    /// How many rows the decoder sees, whether they fit or not.
    fn rows(format: Format, bytes: &[u8]) -> Option<usize> {
        let options = StreamOptions {
            max_record_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
            chunk_bytes: usize::MAX,
            on_misfit: OnMisfit::Reject,
            non_finite_strings: true,
        };
        let mut decoder = decoder(format, Arc::new(Schema::untyped()), options).unwrap();
        decoder.push(bytes).ok()?;
        decoder.finish().ok()?;
        let chunk = decoder.next_chunk(usize::MAX).ok()??;
        Some(chunk.batch.num_rows() + chunk.rejected.len())
    }

    #[test]
    fn line_breaks_within_quotes_end_nothing() {
        let text = b"a,b\n1,\"x\ny\"\n\"say \"\"hi\"\"\n\",2\r\n\n3,4";
        assert_eq!(records(&[text], RecordEnds::csv()), [0..4, 4..12, 12..29, 30..33]);
        assert_eq!(raw_records(text, RecordEnds::csv(), true, &[0, 2]), [&b"1,\"x\ny\""[..], b"3,4"]);
        assert_eq!(records(&[b"{\"a\":1}\n{\"a\":\"\\\"\"}\n"], RecordEnds::lines()).len(), 2);
    }

    #[test]
    fn quotes_within_a_field_and_blanks_at_its_ends_are_text() {
        let text = b"\xef\xbb\xbfa,b\n5\" pipe,1\n 6\" pipe , 2 \r\n\"7\"\" pipe\",3\n";
        assert_eq!(
            raw_records(text, RecordEnds::csv(), true, &[0, 1, 2]),
            [&b"5\" pipe,1"[..], b" 6\" pipe , 2 ", b"\"7\"\" pipe\",3"]
        );
        let text = b"{\"a\":1}\n  \t\n\r\n {\"a\":2} \r\n";
        assert_eq!(raw_records(text, RecordEnds::lines(), false, &[0, 1]), [&b"{\"a\":1}"[..], b" {\"a\":2} "]);
    }

    proptest! {
        #[test]
        fn records_are_those_that_the_decoder_of_csv_sees(
            header in "[ab\" ]{1,3}(\r\n|\n|\r)",
            text in "[a\",\n\r ]{0,40}",
            mark in any::<bool>(),
            cut in 1usize..20,
        ) {
            let bytes = format!("{}{header}{text}", if mark { "\u{feff}" } else { "" }).into_bytes();
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let found = records(&pieces, RecordEnds::csv());
            prop_assert_eq!(&found, &records(&[&bytes], RecordEnds::csv()));
            // A header that is not closed has no rows that could be told apart.
            if let Some(count) = rows(Format::Csv, &bytes) {
                prop_assert_eq!(found.len(), count + 1);
                for record in &found[1..] {
                    let alone = [&bytes[..found[0].end], &bytes[record.clone()]].concat();
                    prop_assert_eq!(rows(Format::Csv, &alone), Some(1));
                }
            }
        }

        #[test]
        fn records_are_those_that_the_decoder_of_lines_sees(
            lines in proptest::collection::vec("[ \t\r]{0,2}(|[{][}]|[{]\"a\":1[}])[ \t\r]{0,2}", 0..8),
            ended in any::<bool>(),
            mark in any::<bool>(),
            cut in 1usize..20,
        ) {
            let (mark, end) = (if mark { "\u{feff}" } else { "" }, if ended { "\n" } else { "" });
            let bytes = format!("{mark}{}{end}", lines.join("\n")).into_bytes();
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let found = records(&pieces, RecordEnds::lines());
            prop_assert_eq!(&found, &records(&[&bytes], RecordEnds::lines()));
            prop_assert_eq!(Some(found.len()), rows(Format::Ndjson, &bytes));
        }
    }
}
