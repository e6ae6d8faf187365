//! The weights of an ensemble, read and checked: what is wrong with them is told before the first row.
//!
//! ```text
//! bytes                                                                       little-endian
//!     8  HWTREES1
//!     1  what becomes of the sum: 0 it is the score, 1 a probability, 2 an anomaly score of isolation trees
//!     1  flags: 1 values are rounded to 32 bits before they are compared, 2 rows with missing values are scored
//!     2  features                4  trees                4  nodes of all trees                4  zero
//!     8  base                    8  divisor              floats of 64 bits
//!        for each feature: 1 byte with the length of its name, the name
//!        for each tree: 4 bytes with the number of its nodes
//!        for each node, tree by tree, a node before all that lie below it, its left child right behind it:
//!          2  feature; 65535: a leaf
//!          2  1: a missing value goes left
//!          4  place of the right child in its tree, from 0
//!          8  threshold; of a leaf: what it adds
//! ```
//!
//! Invariant: from every node that was read a walk downwards stays in its tree and ends: both children lie behind it.

/// Features at most: what the host gives a model.
const FEATURES_MAX: usize = 64;
/// Bytes of the name of a feature.
const NAME_BYTES_MAX: usize = 64;
/// Trees at most.
const TREES_MAX: usize = 10_000;
/// Nodes of all trees at most: 16 MB.
const NODES_MAX: usize = 1_000_000;

const MAGIC: &[u8; 8] = b"HWTREES1";
const LEAF: u16 = u16::MAX;

/// What becomes of the sum over all trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the score.
    Sum,
    /// `1 / (1 + exp(-sum))`.
    Logistic,
    /// `2 ^ -sum`.
    Isolation,
}

/// A node: a question, or a leaf.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Threshold, or what the leaf adds.
    value: f64,
    right: u32,
    feature: u16,
    missing_left: bool,
}

/// An ensemble of trees.
#[derive(Debug)]
pub struct Ensemble {
    /// Names of its features.
    pub features: Vec<String>,
    /// What becomes of the sum.
    pub link: Link,
    /// Values are rounded to 32 bits.
    pub narrow: bool,
    /// Rows with missing values are scored.
    pub takes_missing: bool,
    base: f64,
    divisor: f64,
    /// Nodes of all trees.
    nodes: Vec<Node>,
    /// Nodes of each tree.
    sizes: Vec<usize>,
}

/// What is left of the bytes.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or("they end early")?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take::<1>()?[0])
    }

    /// A count of at most so many.
    fn count(&mut self, what: &str, count_max: usize) -> Result<usize, String> {
        let count = u32::from_le_bytes(self.take()?) as usize;
        if count > count_max {
            return Err(format!("{count} {what}: at most {count_max} are possible"));
        }
        Ok(count)
    }

    fn finite(&mut self, what: &str) -> Result<f64, String> {
        let number = f64::from_le_bytes(self.take()?);
        if number.is_finite() { Ok(number) } else { Err(format!("{what} is {number}")) }
    }

    fn name(&mut self) -> Result<String, String> {
        let length = usize::from(self.byte()?);
        if !(1..=NAME_BYTES_MAX).contains(&length) {
            return Err(format!("the name of a feature has {length} bytes, not 1 to {NAME_BYTES_MAX}"));
        }
        let (name, rest) = self.0.split_at_checked(length).ok_or("they end early")?;
        self.0 = rest;
        String::from_utf8(name.to_vec()).map_err(|_| "the name of a feature is not UTF-8".to_owned())
    }

    fn node(&mut self) -> Result<Node, String> {
        let (feature, flags) = (u16::from_le_bytes(self.take()?), u16::from_le_bytes(self.take()?));
        let right = u32::from_le_bytes(self.take()?);
        let value = self.finite(if feature == LEAF { "its value" } else { "its threshold" })?;
        if flags > 1 {
            return Err(format!("its flags are {flags}, not 0 or 1"));
        }
        Ok(Node { value, right, feature, missing_left: flags == 1 })
    }
}

impl Ensemble {
    /// Reads and checks weights.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut bytes = Bytes(bytes);
        if bytes.take::<8>().as_ref() != Ok(MAGIC) {
            return Err("they do not begin with HWTREES1".to_owned());
        }
        let link = match bytes.byte()? {
            0 => Link::Sum,
            1 => Link::Logistic,
            2 => Link::Isolation,
            other => return Err(format!("what becomes of the sum is {other}, not 0, 1 or 2")),
        };
        let flags = bytes.byte()?;
        let count = usize::from(u16::from_le_bytes(bytes.take()?));
        if !(1..=FEATURES_MAX).contains(&count) {
            return Err(format!("{count} features: 1 to {FEATURES_MAX} are possible"));
        }
        let (trees, all) = (bytes.count("trees", TREES_MAX)?, bytes.count("nodes", NODES_MAX)?);
        if flags > 3 || bytes.take::<4>()? != [0; 4] {
            return Err("a flag or a field is set that means nothing".to_owned());
        }
        let (base, divisor) = (bytes.finite("the base")?, bytes.finite("the divisor")?);
        if link == Link::Isolation && base < 0.0 {
            return Err(format!("the base is {base}: no path is shorter than 0"));
        }
        if divisor <= 0.0 {
            return Err(format!("the divisor is {divisor}"));
        }
        let features = (0..count).map(|_| bytes.name()).collect::<Result<_, _>>()?;
        let sizes = (0..trees).map(|_| bytes.count("nodes", NODES_MAX)).collect::<Result<Vec<_>, _>>()?;
        // In 64 bits: so many sizes can add up to more than this machine's words hold.
        let sum: u64 = sizes.iter().map(|size| *size as u64).sum();
        if sum != all as u64 || bytes.0.len() != 16 * all {
            let left = bytes.0.len();
            return Err(format!(
                "{all} nodes are said, the trees have {sum}, and {left} bytes are left for them"
            ));
        }
        let (takes_missing, narrow) = (flags & 2 != 0, flags & 1 != 0);
        let mut ensemble =
            Self { features, link, narrow, takes_missing, base, divisor, nodes: Vec::new(), sizes };
        ensemble.plant(&mut bytes)?;
        Ok(ensemble)
    }

    /// Reads the nodes.
    fn plant(&mut self, bytes: &mut Bytes<'_>) -> Result<(), String> {
        self.nodes.reserve_exact(self.sizes.iter().sum());
        let mut most = self.base.abs();
        for (tree, size) in self.sizes.iter().enumerate() {
            if *size == 0 {
                return Err(format!("tree {tree} has no node"));
            }
            let mut leaf_max = 0.0_f64;
            for place in 0..*size {
                let at = |why: String| format!("node {place} of tree {tree}: {why}");
                let node = bytes.node().map_err(at)?;
                if node.feature == LEAF {
                    if self.link == Link::Isolation && node.value < 0.0 {
                        return Err(at(format!("a depth of {}", node.value)));
                    }
                    leaf_max = leaf_max.max(node.value.abs());
                } else {
                    self.check(&node, place, *size).map_err(at)?;
                }
                self.nodes.push(node);
            }
            most += leaf_max;
        }
        if !(most / self.divisor).is_finite() {
            return Err("their sum can become infinite".to_owned());
        }
        Ok(())
    }

    /// Whether a question is about a feature, and its children lie behind it in its tree.
    fn check(&self, node: &Node, place: usize, size: usize) -> Result<(), String> {
        let (feature, right) = (usize::from(node.feature), node.right as usize);
        if feature >= self.features.len() {
            return Err(format!("it asks for feature {feature} of {}", self.features.len()));
        }
        if right <= place + 1 || right >= size {
            return Err(format!(
                "its right child is {right}: it must lie behind its left child, {}, and before {size}",
                place + 1
            ));
        }
        Ok(())
    }

    /// The scores of rows that stand in columns; missing values are NaN.
    pub fn score(&self, values: &[f64], rows: usize) -> Vec<f64> {
        let mut sums = vec![self.base; rows];
        let mut rest = self.nodes.as_slice();
        for size in &self.sizes {
            let (tree, others) = rest.split_at(*size);
            rest = others;
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += leaf(tree, values, rows, row);
            }
        }
        for sum in &mut sums {
            let total = *sum / self.divisor;
            *sum = match self.link {
                Link::Sum => total,
                Link::Logistic => 1.0 / (1.0 + (-total).exp()),
                Link::Isolation => (-total).exp2(),
            };
        }
        sums
    }
}

/// What a tree adds for a row.
fn leaf(tree: &[Node], values: &[f64], rows: usize, row: usize) -> f64 {
    let mut place = 0;
    loop {
        let node = &tree[place];
        if node.feature == LEAF {
            return node.value;
        }
        let value = values[usize::from(node.feature) * rows + row];
        let left = if value.is_nan() { node.missing_left } else { value <= node.value };
        place = if left { place + 1 } else { node.right as usize };
    }
}
