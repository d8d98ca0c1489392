//! Finding what R can't score: the partition is halved until the culprits stand
//! alone. Culprits are rows where rows were proved to be independent, or groups
//! where the bundle says which columns tell independent groups apart. In all other
//! cases leaving something out would change the rest.

use std::collections::HashMap;

use arrow_array::{BooleanArray, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;

use super::score::{Called, Dropped, Session};
use super::{RWorkshop, Work, failure};
use crate::batch::job::BadRows;
use crate::batch::record::{Cause, Failure};
use crate::batch::run::Hindrance;
use crate::error::Condition;
use crate::frame::cells::Cells;
use crate::frame::join::join;
use crate::frame::schema::Inputs;
use crate::scoring;

/// Most calls that one partition is worth; some hundreds of culprits are found
/// within them.
const MAX_CALLS: usize = 20_000;

/// What can be left out: to which unit each row of an input belongs; `None` for an
/// input that every unit needs as a whole.
struct Units {
    count: usize,
    of_input: Vec<Option<Vec<usize>>>,
    /// Units of the rows that predictions follow.
    of_rows: Vec<usize>,
}

/// Scores a partition without what raises errors; `first` is what the whole raised.
///
/// # Errors
/// The partition's failure when nothing may be left out, or too much went wrong; or
/// no worker can be had.
pub(super) async fn isolate(
    workshop: &RWorkshop,
    session: &mut Session<'_>,
    work: &Work,
    first: Condition,
) -> Result<(RecordBatch, Vec<Dropped>), Hindrance> {
    if workshop.job.errors.rows == BadRows::Fail {
        return Err(r_error(first).into());
    }
    let rows_like = &workshop.model.columns.rows_like;
    let units = if workshop.model.independent && work.inputs.as_single().is_some() {
        rows(work.numbers.len())
    } else {
        groups(&work.inputs, rows_like, &workshop.model.independent_by)
    };
    let Some(units) = units else { return Err(r_error(first).into()) };
    let mut search = Search { calls: 0, units, positions: Vec::new(), scored: Vec::new(), dropped: Vec::new() };
    // Ranges of units that wait, the first one last; each is known to fail or not yet tried.
    let mut waiting = vec![(0, search.units.count, Some(first))];
    while let Some((start, length, known)) = waiting.pop() {
        let condition = match known {
            Some(condition) => condition,
            None => match search.try_range(session, &work.inputs, start, length).await? {
                None => continue,
                Some(condition) => condition,
            },
        };
        if length == 1 {
            search.drop_unit(start, &condition);
        } else {
            let half = length / 2;
            waiting.push((start + half, length - half, None));
            waiting.push((start, half, None));
        }
    }
    search.finish().map_err(|error| {
        failure(Cause::RError, format!("parts of the partition gave different columns: {error}")).into()
    })
}

/// Each row on its own.
fn rows(count: usize) -> Option<Units> {
    let each: Vec<usize> = (0..count).collect();
    Some(Units { count, of_input: vec![Some(each.clone())], of_rows: each })
}

/// Rows with the same values in these columns together.
fn groups(inputs: &Inputs<RecordBatch>, rows_like: &str, columns: &[String]) -> Option<Units> {
    if columns.is_empty() {
        return None;
    }
    let mut known: HashMap<String, usize> = HashMap::new();
    // The input that predictions follow says which groups there are.
    let of_rows: Vec<usize> = keys(inputs.get(rows_like)?, columns)?
        .into_iter()
        .map(|key| {
            let next = known.len();
            *known.entry(key).or_insert(next)
        })
        .collect();
    let of_input = inputs
        .iter()
        .map(|(_, frame)| {
            let keys = keys(frame, columns)?;
            // A group that has no predictions belongs to none.
            Some(keys.iter().map(|key| known.get(key).copied().unwrap_or(usize::MAX)).collect())
        })
        .collect();
    Some(Units { count: known.len(), of_input, of_rows })
}

/// The values of the columns, row by row, as text; none when a column is missing.
fn keys(frame: &RecordBatch, columns: &[String]) -> Option<Vec<String>> {
    let cells: Vec<Cells<'_>> =
        columns.iter().map(|name| Cells::new(frame.column_by_name(name)?).ok()).collect::<Option<_>>()?;
    let key = |row: usize| cells.iter().map(|cells| format!("{:?}\n", cells.get(row))).collect();
    Some((0..frame.num_rows()).map(key).collect())
}

struct Search {
    calls: usize,
    units: Units,
    /// Positions of the rows of all that was scored, in its order.
    positions: Vec<u32>,
    scored: Vec<RecordBatch>,
    dropped: Vec<Dropped>,
}

impl Search {
    /// Scores a range of units; gives the error when there was one.
    async fn try_range(
        &mut self,
        session: &mut Session<'_>,
        inputs: &Inputs<RecordBatch>,
        start: usize,
        length: usize,
    ) -> Result<Option<Condition>, Hindrance> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            let found = self.dropped.len();
            return Err(Hindrance::Failure(Failure {
                condition: self.dropped.pop().map(|dropped| dropped.condition),
                ..failure(
                    Cause::RError,
                    format!("too many rows raise R errors: {found} were found in {MAX_CALLS} calls"),
                )
            }));
        }
        session.ready().await?;
        let range = start..start + length;
        let part = self.part(inputs, &range).map_err(|error| failure(Cause::RError, error.to_string()))?;
        match session.call(part).await {
            Called::Predictions(predictions) => {
                let rows = self.units.of_rows.iter().enumerate().filter(|(_, unit)| range.contains(*unit));
                self.positions.extend(rows.filter_map(|(row, _)| u32::try_from(row).ok()));
                self.scored.push(predictions);
                Ok(None)
            }
            Called::Error(condition) => Ok(Some(condition)),
            Called::Ended(failure) => Err(failure.into()),
            Called::Unmade(unmade) => Err(unmade.into()),
        }
    }

    /// The rows of a range of units.
    fn part(
        &self,
        inputs: &Inputs<RecordBatch>,
        range: &std::ops::Range<usize>,
    ) -> Result<Inputs<RecordBatch>, ArrowError> {
        let parts = inputs.iter().zip(&self.units.of_input).map(|((name, frame), units)| {
            let part = match units {
                Some(units) => {
                    let within: BooleanArray = units.iter().map(|unit| Some(range.contains(unit))).collect();
                    filter_record_batch(frame, &within)?
                }
                None => frame.clone(),
            };
            Ok((name.to_owned(), part))
        });
        parts.collect::<Result<_, ArrowError>>().map(Inputs::named)
    }

    fn drop_unit(&mut self, unit: usize, condition: &Condition) {
        let rows = self.units.of_rows.iter().enumerate().filter(|(_, other)| **other == unit);
        self.dropped.extend(rows.map(|(position, _)| Dropped { position, condition: condition.clone() }));
    }

    /// All predictions in the order of their rows.
    fn finish(mut self) -> Result<(RecordBatch, Vec<Dropped>), ArrowError> {
        self.dropped.sort_by_key(|dropped| dropped.position);
        if self.scored.is_empty() {
            return Ok((scoring::Scored::empty().batch, self.dropped));
        }
        let joined = join(&self.scored.iter().collect::<Vec<_>>())?;
        let mut order: Vec<u32> = (0..self.positions.len()).filter_map(|index| u32::try_from(index).ok()).collect();
        order.sort_by_key(|&index| self.positions[index as usize]);
        Ok((take_record_batch(&joined, &UInt32Array::from(order))?, self.dropped))
    }
}

fn r_error(condition: Condition) -> Failure {
    let call = condition.call.as_ref().map(|call| format!(" (in {call})")).unwrap_or_default();
    Failure { condition: Some(condition.clone()), ..failure(Cause::RError, format!("{}{call}", condition.message)) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    fn frame(groups: &[&str]) -> RecordBatch {
        let numbers: Float64Array = (0..groups.len()).map(|number| Some(number as f64)).collect();
        RecordBatch::try_from_iter([
            ("g", Arc::new(StringArray::from(groups.to_vec())) as ArrayRef),
            ("x", Arc::new(numbers) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn a_group_takes_its_rows_of_all_inputs() {
        let whole = RecordBatch::try_from_iter([("y", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
        let inputs = Inputs::named(vec![
            ("past".to_owned(), frame(&["b", "a", "c", "b"])),
            ("next".to_owned(), frame(&["a", "b", "a"])),
            ("all".to_owned(), whole.clone()),
        ]);
        let units = groups(&inputs, "next", &["g".to_owned()]).unwrap();
        assert_eq!((units.count, units.of_rows.as_slice()), (2, &[0, 1, 0][..]));
        let search = Search { calls: 0, units, positions: Vec::new(), scored: Vec::new(), dropped: Vec::new() };
        let part = search.part(&inputs, &(0..1)).unwrap();
        assert_eq!(part.get("past").unwrap(), &frame(&["b", "a", "c", "b"]).slice(1, 1));
        assert_eq!(part.get("next").unwrap().num_rows(), 2);
        assert_eq!(part.get("all").unwrap(), &whole);
        assert!(groups(&inputs, "next", &["h".to_owned()]).is_none());
    }

    #[test]
    fn predictions_come_back_in_the_order_of_their_rows() {
        let inputs = Inputs::named(vec![("next".to_owned(), frame(&["a", "b", "a", "b"]))]);
        let units = groups(&inputs, "next", &["g".to_owned()]).unwrap();
        let mut search = Search { calls: 0, units, positions: Vec::new(), scored: Vec::new(), dropped: Vec::new() };
        for unit in [1, 0] {
            let part = search.part(&inputs, &(unit..unit + 1)).unwrap();
            search.positions.extend([u32::try_from(unit).unwrap(), u32::try_from(unit).unwrap() + 2]);
            search.scored.push(part.get("next").unwrap().clone());
        }
        let (all, dropped) = search.finish().unwrap();
        assert_eq!(all, frame(&["a", "b", "a", "b"]));
        assert!(dropped.is_empty());
    }
}
