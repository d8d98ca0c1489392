//! What is known of all partitions, from listings alone: which are settled, and
//! which of those are published. Reading a hundred thousand outcomes one by one
//! to find that out would take minutes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::layout::{Layout, partition_of};
use crate::batch::objects::{Objects, StoreTrouble, read_json};
use crate::batch::plan::Partition;
use crate::batch::record::Retry;

/// The state of every partition of a run, as of the last look.
pub struct Board {
    layout: Layout,
    partitions: Arc<[Partition]>,
    index: HashMap<String, usize>,
    /// Generations above 0.
    generations: HashMap<usize, u32>,
    settled: Vec<bool>,
    published: Vec<bool>,
}

impl Board {
    /// Looks at a run for the first time.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(
        objects: &dyn Objects,
        layout: Layout,
        partitions: Arc<[Partition]>,
    ) -> Result<Self, StoreTrouble> {
        let index = partitions.iter().enumerate().map(|(index, partition)| (partition.id.clone(), index)).collect();
        let count = partitions.len();
        let mut board = Self {
            layout,
            partitions,
            index,
            generations: HashMap::new(),
            settled: vec![false; count],
            published: vec![false; count],
        };
        board.read_generations(objects).await?;
        board.refresh(objects).await?;
        Ok(board)
    }

    async fn read_generations(&mut self, objects: &dyn Objects) -> Result<(), StoreTrouble> {
        for request in objects.list(&self.layout.retries()).await? {
            let Some(retry) = read_json::<Retry>(objects, &request.path).await? else { continue };
            for (id, generation) in retry.generations {
                if let Some(&index) = self.index.get(&id) {
                    let current = self.generations.entry(index).or_default();
                    *current = generation.max(*current);
                }
            }
        }
        Ok(())
    }

    /// Looks again. What was settled stays so.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&mut self, objects: &dyn Objects) -> Result<(), StoreTrouble> {
        let last = self.generations.values().copied().max().unwrap_or(0);
        for generation in 0..=last {
            let folder = self.layout.outcomes(generation);
            for object in objects.list(&folder).await? {
                if let Some(index) = self.current(&object.path, &folder, ".json", generation) {
                    self.settled[index] = true;
                }
            }
            let folder = self.layout.published_folder(generation);
            for object in objects.list(&folder).await? {
                if let Some(index) = self.current(&object.path, &folder, "", generation) {
                    self.published[index] = true;
                }
            }
        }
        Ok(())
    }

    /// The partition that an object is about, if it is of its current generation.
    fn current(&self, path: &str, folder: &str, extension: &str, generation: u32) -> Option<usize> {
        let index = *self.index.get(partition_of(path, folder, extension)?)?;
        (self.generation(index) == generation).then_some(index)
    }

    /// The run's paths.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All partitions.
    pub fn partitions(&self) -> &Arc<[Partition]> {
        &self.partitions
    }

    /// The generation that a partition is in.
    pub fn generation(&self, index: usize) -> u32 {
        self.generations.get(&index).copied().unwrap_or(0)
    }

    /// Notes that a partition is settled, and whether it is published.
    pub fn note(&mut self, index: usize, published: bool) {
        self.settled[index] = true;
        self.published[index] |= published;
    }

    /// Whether a partition has an outcome.
    pub fn is_settled(&self, index: usize) -> bool {
        self.settled[index]
    }

    /// Partitions without an outcome.
    pub fn open(&self) -> Vec<usize> {
        (0..self.settled.len()).filter(|&index| !self.settled[index]).collect()
    }

    /// Partitions with an outcome that was not published.
    pub fn unpublished(&self) -> Vec<usize> {
        (0..self.settled.len()).filter(|&index| self.settled[index] && !self.published[index]).collect()
    }

    /// Bytes that partitions with an outcome read.
    pub fn settled_bytes(&self) -> u64 {
        let settled = self.partitions.iter().zip(&self.settled).filter(|(_, settled)| **settled);
        settled.map(|(partition, _)| partition.bytes()).sum()
    }

    /// How many partitions have an outcome.
    pub fn settled_count(&self) -> usize {
        self.settled.iter().filter(|settled| **settled).count()
    }
}
