//! Trees for trials: written as the shipped `trees` reads them, and evaluated by plain recursion.

/// What becomes of the sum, as the weights number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Sum,
    Logistic,
    Isolation,
}

/// A tree.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Leaf(f64),
    Node { feature: u16, threshold: f64, missing_left: bool, left: Box<Tree>, right: Box<Tree> },
}

impl Tree {
    /// What it adds for a row; NaN: missing.
    fn value(&self, row: &[f64]) -> f64 {
        match self {
            Self::Leaf(value) => *value,
            Self::Node { feature, threshold, missing_left, left, right } => {
                let found = row[usize::from(*feature)];
                let goes_left = if found.is_nan() { *missing_left } else { found <= *threshold };
                if goes_left { left.value(row) } else { right.value(row) }
            }
        }
    }

    /// Its nodes as 16 bytes each, a node before what lies below it.
    fn write(&self, nodes: &mut Vec<[u8; 16]>) {
        let node = |feature: u16, flags: u16, right: u32, value: f64| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&feature.to_le_bytes());
            bytes[2..4].copy_from_slice(&flags.to_le_bytes());
            bytes[4..8].copy_from_slice(&right.to_le_bytes());
            bytes[8..].copy_from_slice(&value.to_le_bytes());
            bytes
        };
        match self {
            Self::Leaf(value) => nodes.push(node(u16::MAX, 0, 0, *value)),
            Self::Node { feature, threshold, missing_left, left, right } => {
                let at = nodes.len();
                nodes.push([0; 16]);
                left.write(nodes);
                let behind = nodes.len() as u32;
                nodes[at] = node(*feature, u16::from(*missing_left), behind, *threshold);
                right.write(nodes);
            }
        }
    }
}

/// An ensemble.
#[derive(Clone, Debug)]
pub(crate) struct Forest {
    pub(crate) link: Link,
    pub(crate) narrow: bool,
    pub(crate) takes_missing: bool,
    pub(crate) base: f64,
    pub(crate) divisor: f64,
    pub(crate) features: usize,
    pub(crate) trees: Vec<Tree>,
}

impl Forest {
    /// The score of a row by its definition.
    pub(crate) fn score(&self, row: &[f64]) -> f64 {
        let narrow = |value: &f64| if self.narrow { f64::from(*value as f32) } else { *value };
        let row: Vec<f64> = row.iter().map(narrow).collect();
        let sum = self.trees.iter().fold(self.base, |sum, tree| sum + tree.value(&row)) / self.divisor;
        match self.link {
            Link::Sum => sum,
            Link::Logistic => 1.0 / (1.0 + (-sum).exp()),
            Link::Isolation => 2.0_f64.powf(-sum),
        }
    }

    /// As weights; features are called `a`, `b` ...
    pub(crate) fn weights(&self) -> Vec<u8> {
        let trees: Vec<Vec<[u8; 16]>> = self
            .trees
            .iter()
            .map(|tree| {
                let mut nodes = Vec::new();
                tree.write(&mut nodes);
                nodes
            })
            .collect();
        let count = |count: usize| u32::try_from(count).unwrap().to_le_bytes();
        let mut bytes = b"HWTREES1".to_vec();
        bytes.push(self.link as u8);
        bytes.push(u8::from(self.narrow) | u8::from(self.takes_missing) << 1);
        bytes.extend(u16::try_from(self.features).unwrap().to_le_bytes());
        bytes.extend([count(trees.len()), count(trees.iter().map(Vec::len).sum()), [0; 4]].concat());
        bytes.extend([self.base.to_le_bytes(), self.divisor.to_le_bytes()].concat());
        for feature in 0..self.features {
            bytes.extend([1, b'a' + feature as u8]);
        }
        trees.iter().for_each(|nodes| bytes.extend(count(nodes.len())));
        bytes.extend(trees.iter().flatten().flatten());
        bytes
    }
}

fn node(feature: u16, threshold: f64, left: Tree, right: Tree) -> Tree {
    Tree::Node { feature, threshold, missing_left: true, left: Box::new(left), right: Box::new(right) }
}

/// A small one over two features, which takes missing values.
pub(crate) fn small() -> Forest {
    let inner = node(1, 41.0, Tree::Leaf(1.5), Tree::Leaf(3.25));
    let trees = vec![node(0, 20.5, inner, Tree::Leaf(2.0)), node(1, 40.5, Tree::Leaf(4.0), Tree::Leaf(1.0))];
    let (link, narrow, takes_missing) = (Link::Isolation, true, true);
    Forest { link, narrow, takes_missing, base: 0.0, divisor: 7.5, features: 2, trees }
}
