//! Views of an Arrow stream: each names a text by its place and length, and the library
//! looks through each text, so that a long one that all of them name would take hours.

use std::ops::Range;

use arrow_ipc::{RecordBatch, Schema, Type};

/// Bytes of a view, whose first four are the length of its text.
const VIEW: usize = 16;

/// How many buffers each column of a schema has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffers {
    Fixed(usize),
    /// Two, and as many as the batch says.
    Views,
}

/// The columns of a schema, unless some are nested.
#[derive(Debug, Default)]
pub(super) struct Layout(Option<Vec<Buffers>>);

impl Layout {
    /// That of a schema.
    pub(super) fn of(schema: Schema<'_>) -> Self {
        Self(schema.fields().into_iter().flatten().map(|field| buffers(&field)).collect())
    }

    /// Where in the body of a record batch its views are; `None` when that is not known.
    pub(super) fn views(&self, batch: RecordBatch<'_>) -> Option<Vec<Range<usize>>> {
        match batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
            true => places(self.0.as_deref()?, batch),
            false => Some(Vec::new()),
        }
    }

    /// The same for a batch with a dictionary, whose values are one column.
    pub(super) fn views_of_dictionary(batch: RecordBatch<'_>) -> Option<Vec<Range<usize>>> {
        let counts: Vec<i64> = batch.variadicBufferCounts().into_iter().flatten().collect();
        match counts.as_slice() {
            [] => Some(Vec::new()),
            // Of another number of buffers, the first belong to what the views are in.
            [count] if i64::try_from(batch.buffers()?.len()).ok()? == count.checked_add(2)? => {
                places(&[Buffers::Views], batch)
            }
            _ => None,
        }
    }
}

/// Bytes of all texts that the views in a body name.
pub(super) fn texts(body: &[u8], views: &[Range<usize>]) -> u64 {
    let views = views.iter().filter_map(|place| body.get(place.clone())).flat_map(|views| views.chunks_exact(VIEW));
    views.filter_map(|view| view.first_chunk()).map(|length| u64::from(u32::from_le_bytes(*length))).sum()
}

fn buffers(field: &arrow_ipc::Field<'_>) -> Option<Buffers> {
    // Of a dictionary a batch has the keys.
    if field.dictionary().is_some() {
        return Some(Buffers::Fixed(2));
    }
    Some(match field.type_type() {
        Type::Null => Buffers::Fixed(0),
        Type::Utf8View | Type::BinaryView => Buffers::Views,
        Type::Utf8 | Type::LargeUtf8 | Type::Binary | Type::LargeBinary => Buffers::Fixed(3),
        Type::Bool
        | Type::Int
        | Type::FloatingPoint
        | Type::Decimal
        | Type::Date
        | Type::Time
        | Type::Timestamp
        | Type::Interval
        | Type::Duration
        | Type::FixedSizeBinary => Buffers::Fixed(2),
        _ => return None,
    })
}

fn places(columns: &[Buffers], batch: RecordBatch<'_>) -> Option<Vec<Range<usize>>> {
    let (buffers, mut counts) = (batch.buffers()?, batch.variadicBufferCounts()?.into_iter());
    let (mut place, mut views) = (0_usize, Vec::new());
    for column in columns {
        place = match column {
            Buffers::Fixed(count) => place.checked_add(*count)?,
            Buffers::Views => {
                let number = place.checked_add(1).filter(|number| *number < buffers.len())?;
                let buffer = buffers.get(number);
                let start = usize::try_from(buffer.offset()).ok()?;
                views.push(start..start.checked_add(usize::try_from(buffer.length()).ok()?)?);
                number.checked_add(1)?.checked_add(usize::try_from(counts.next()?).ok()?)?
            }
        };
    }
    Some(views)
}
