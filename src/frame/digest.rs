//! What identifies the rows of a request: the digest of its typed columns, the
//! same for the same data in whatever form it was sent.

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;

use super::schema::Inputs;

/// SHA-256 of typed inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputsDigest([u8; SHA256_OUTPUT_LEN]);

impl InputsDigest {
    /// The digest of all inputs, names and types included.
    ///
    /// # Errors
    /// The columns can't be written as Arrow streams.
    pub fn of(inputs: &Inputs<RecordBatch>) -> Result<Self, ArrowError> {
        let mut context = Context::new(&SHA256);
        for (name, batch) in inputs.iter() {
            // A slice is written without what it leaves out, so that equal rows give
            // equal bytes.
            let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
            writer.write(batch)?;
            let bytes = writer.into_inner()?;
            // Lengths in front, so that no two inputs run into the same bytes.
            context.update(&(name.len() as u64).to_le_bytes());
            context.update(name.as_bytes());
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(&bytes);
        }
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(Self(digest))
    }
}

impl std::fmt::Display for InputsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::{Float64Array, StringArray};

    use super::*;

    fn batch(numbers: &[Option<f64>], texts: &[&str]) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(numbers.to_vec())) as _),
            ("y", Arc::new(StringArray::from(texts.to_vec())) as _),
        ])
        .unwrap()
    }

    fn digest(batch: RecordBatch) -> InputsDigest {
        InputsDigest::of(&Inputs::single(batch)).unwrap()
    }

    #[test]
    fn the_digest_is_of_the_rows() {
        let one = digest(batch(&[Some(1.0), None], &["a", "b"]));
        assert_eq!(one, digest(batch(&[Some(1.0), None], &["a", "b"])));
        assert_ne!(one, digest(batch(&[Some(1.0), Some(0.0)], &["a", "b"])));
        assert_ne!(one, digest(batch(&[Some(1.0), None], &["ab", ""])));
        assert_ne!(
            one,
            InputsDigest::of(&Inputs::named(vec![("other".to_owned(), batch(&[Some(1.0), None], &["a", "b"]))]))
                .unwrap()
        );
        assert_eq!(one.to_string().len(), 64);
    }

    #[test]
    fn a_part_has_the_digest_of_its_rows() {
        let whole = batch(&[Some(0.0), Some(1.0), None], &["", "a", "b"]);
        assert_eq!(digest(whole.slice(1, 2)), digest(batch(&[Some(1.0), None], &["a", "b"])));
    }
}
