//! The shipped `trees` against plain recursion, against the library that its weights were trained with, and against
//! weights that somebody made up to do harm.

use crate::forest::{Forest, Link, Tree, small};
use crate::rig::{METRICS, Trial, ewma, kept, limits, loader, run};
use proptest::prelude::*;
use schemas::pipeline::{Inputs, Model};
use scoring::shipped;
use scoring::{ARTIFACT_BYTES_MAX, Failure, Input, Lane, Refused, Verdict};
use scoring_host::{Host, Plugin};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn columns(names: &[&str]) -> Inputs {
    Inputs::Columns(names.iter().map(|name| (*name).to_owned()).collect())
}

/// `trees` with these weights, over the first so many metrics.
fn model(weights: &[u8], features: usize) -> Model {
    Model {
        name: "trees".to_owned(),
        component: shipped::find("trees").unwrap().digest.clone(),
        artifact: Some(kept(weights)),
        threshold: f64::INFINITY,
        ..ewma("{}", columns(&METRICS[..features]))
    }
}

/// What the guest says of each row; NaN in a row: missing. None: it was not asked.
fn said(weights: &[u8], rows: &[Vec<f64>]) -> Vec<Option<f64>> {
    let features = rows[0].len();
    let mut lane = Lane::new(&loader().load(&[model(weights, features)]).unwrap());
    let input =
        |(metric, value): (u16, &f64)| Input { metric, value: Some(*value).filter(|value| !value.is_nan()) };
    let trial = |row: &Vec<f64>| Trial { slot: 0, values: (0..).zip(row).map(input).collect() };
    let trials: Vec<Trial> = rows.iter().map(trial).collect();
    let score = |verdicts: &Vec<Verdict>| match verdicts[0] {
        Verdict::Score { score, warm_up: false, .. } => Some(score),
        Verdict::NotScored => None,
        other => panic!("{other:?}"),
    };
    run(&mut lane, &trials, 97, 0).iter().step_by(features).map(score).collect()
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-6 * (1.0 + expected.abs())
}

/// Numbers that meet each other, some of which are others once they have 32 bits; below, as values, with missing ones.
const NUMBERS: [f64; 9] = [-1.5, -0.0, 0.0, 0.1, 0.100_000_001_49, 1.0, 16_777_217.0, 1e30, 1e300];

fn tree(features: u16) -> impl Strategy<Value = Tree> {
    let leaf = (0.0..10.0_f64).prop_map(Tree::Leaf);
    leaf.prop_recursive(6, 40, 2, move |below| {
        let threshold = prop::sample::select(NUMBERS.to_vec());
        (0..features, threshold, any::<bool>(), below.clone(), below).prop_map(
            |(feature, threshold, missing_left, left, right)| {
                let (left, right) = (Box::new(left), Box::new(right));
                Tree::Node { feature, threshold, missing_left, left, right }
            },
        )
    })
}

fn forest() -> impl Strategy<Value = Forest> {
    let link = prop::sample::select(vec![Link::Sum, Link::Logistic, Link::Isolation]);
    let numbers = (link, any::<bool>(), any::<bool>(), -5.0..5.0_f64, 0.5..50.0_f64);
    (1..=4_u16).prop_flat_map(move |features| {
        (numbers.clone(), prop::collection::vec(tree(features), 0..6)).prop_map(
            move |((link, narrow, takes_missing, base, divisor), trees)| Forest {
                link,
                narrow,
                takes_missing,
                // Paths have no negative length.
                base: if link == Link::Isolation { base.abs() } else { base },
                divisor,
                features: usize::from(features),
                trees,
            },
        )
    })
}

fn rows() -> impl Strategy<Value = Vec<[f64; 4]>> {
    let value =
        prop_oneof![4 => prop::sample::select(NUMBERS.to_vec()), 2 => -2.0..2.0_f64, 1 => Just(f64::NAN)];
    prop::collection::vec([value.clone(), value.clone(), value.clone(), value], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn trees_equal_plain_recursion(forest in forest(), rows in rows()) {
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| row[..forest.features].to_vec()).collect();
        for (row, found) in rows.iter().zip(said(&forest.weights(), &rows)) {
            let missing = row.iter().filter(|value| value.is_nan()).count();
            let asked = missing == 0 || forest.takes_missing && missing < row.len();
            prop_assert_eq!(found.is_some(), asked, "{:?}", row);
            if let Some(found) = found {
                let expected = forest.score(row);
                // Sums are the same to the bit; powers and logarithms are somebody else's.
                let same = if forest.link == Link::Sum { found == expected } else { near(found, expected) };
                prop_assert!(same, "{row:?}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn weights_with_changed_bytes_are_refused_or_scored(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut weights = small().weights();
        for (at, byte) in changes {
            let at = at.index(weights.len());
            weights[at] = byte;
        }
        if start(Some(&weights)).is_ok() {
            // Another number of features is another model.
            let features = usize::from(weights[10]);
            if (1..=METRICS.len()).contains(&features) && weights[11] == 0 {
                let rows = vec![vec![20.0; features], vec![41.5; features]];
                let found = said(&weights, &rows);
                prop_assert!(found.iter().all(Option::is_some));
            }
        }
    }
}

/// Starts `trees` with these weights; it may refuse them, and nothing else.
fn start(weights: Option<&[u8]>) -> Result<Plugin, String> {
    static HOST: OnceLock<(Host, scoring_host::Component)> = OnceLock::new();
    let (host, component) = HOST.get_or_init(|| {
        let host = Host::new(limits()).unwrap();
        let component = host.component(shipped::find("trees").unwrap().bytes, None).unwrap();
        (host, component)
    });
    Plugin::new(host, component, "{}", weights, 0).map_err(|refused| match refused {
        Refused::Settings(why) => why,
        other => panic!("{other}"),
    })
}

/// Where the nodes of [`small`] begin: two names, two counts.
const NODES: usize = 40 + 4 + 8;

#[test]
fn weights_that_could_do_harm_are_refused_with_what_is_wrong() {
    let good = small().weights();
    start(Some(&good)).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut weights = good.clone();
        weights[at..at + bytes.len()].copy_from_slice(bytes);
        weights
    };
    let longer = [good.as_slice(), &[0]].concat();
    let sizes = |one: u32, other: u32| changed(44, &[one.to_le_bytes(), other.to_le_bytes()].concat());
    let nan = f64::NAN.to_le_bytes();
    let huge = f64::MAX.to_le_bytes();
    for (weights, expected) in [
        (Vec::new(), "do not begin with HWTREES1"),
        (b"PK\x03\x04a zip of something".to_vec(), "do not begin with HWTREES1"),
        (good[..30].to_vec(), "end early"),
        (good[..good.len() - 1].to_vec(), "127 bytes are left"),
        (longer, "129 bytes are left"),
        (changed(8, &[3]), "not 0, 1 or 2"),
        (changed(9, &[4]), "means nothing"),
        (changed(10, &[0, 0]), "0 features"),
        (changed(10, &[65, 0]), "65 features: 1 to 64"),
        (changed(12, &10_001_u32.to_le_bytes()), "10001 trees: at most 10000"),
        (changed(16, &1_000_001_u32.to_le_bytes()), "1000001 nodes: at most 1000000"),
        (changed(24, &nan), "the base is NaN"),
        (changed(24, &(-33_000.0_f64).to_le_bytes()), "the base is -33000: no path is shorter"),
        (changed(32, &[0; 8]), "the divisor is 0"),
        (changed(32, &1e-300_f64.to_le_bytes()).tap(24, &huge), "can become infinite"),
        (changed(40, &[0]), "0 bytes"),
        (changed(41, &[0xff]), "not UTF-8"),
        (sizes(0, 8), "tree 0 has no node"),
        (sizes(6, 1), "the trees have 7"),
        // A child that is its own parent, one before it, one in the next tree, one nowhere.
        (changed(NODES + 4, &0_u32.to_le_bytes()), "node 0 of tree 0: its right child is 0"),
        (changed(NODES + 16 + 4, &1_u32.to_le_bytes()), "node 1 of tree 0: its right child is 1"),
        (changed(NODES + 4, &1_u32.to_le_bytes()), "node 0 of tree 0: its right child is 1"),
        (changed(NODES + 4, &5_u32.to_le_bytes()), "node 0 of tree 0: its right child is 5"),
        (changed(NODES + 4, &u32::MAX.to_le_bytes()), "node 0 of tree 0: its right child is 4294967295"),
        (changed(NODES, &2_u16.to_le_bytes()), "node 0 of tree 0: it asks for feature 2 of 2"),
        (changed(NODES + 2, &2_u16.to_le_bytes()), "its flags are 2"),
        (changed(NODES + 8, &nan), "node 0 of tree 0: its threshold is NaN"),
        (changed(NODES + 8, &f64::INFINITY.to_le_bytes()), "its threshold is inf"),
        (changed(NODES + 2 * 16 + 8, &nan), "node 2 of tree 0: its value is NaN"),
        (changed(NODES + 2 * 16 + 8, &(-1.0_f64).to_le_bytes()), "a depth of -1"),
    ] {
        let why = start(Some(&weights)).err().unwrap_or_else(|| panic!("taken, and not: {expected}"));
        assert!(why.contains("the weights: ") && why.contains(expected), "{expected}: {why}");
    }
    assert!(start(None).err().unwrap().contains("needs weights"));
}

/// One more change to weights that were changed.
trait Tap {
    fn tap(self, at: usize, bytes: &[u8]) -> Self;
}

impl Tap for Vec<u8> {
    fn tap(mut self, at: usize, bytes: &[u8]) -> Self {
        self[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

#[test]
fn a_tree_as_deep_as_it_has_questions_ends_in_time_or_by_fuel() {
    let chain = |depth: usize| {
        // From the last question to the first: no recursion, which would have no room.
        let mut nodes = Vec::new();
        for place in 0..depth {
            nodes.extend([0, 0, 0, 0]);
            nodes.extend(((2 * depth - place) as u32).to_le_bytes());
            nodes.extend(1.0_f64.to_le_bytes());
        }
        for _ in 0..=depth {
            nodes.extend([0xff, 0xff, 0, 0, 0, 0, 0, 0]);
            nodes.extend(1.0_f64.to_le_bytes());
        }
        let mut weights = Forest { trees: vec![Tree::Leaf(1.0)], features: 1, ..small() }.weights();
        let size = (2 * depth as u32 + 1).to_le_bytes();
        weights[16..20].copy_from_slice(&size);
        weights.truncate(42);
        [weights, size.to_vec(), nodes].concat()
    };
    assert_eq!(said(&chain(1_000), &[vec![0.0], vec![2.0]]).len(), 2);
    let deep = chain(499_999);
    assert!(deep.len() <= ARTIFACT_BYTES_MAX);
    let set = loader().load(&[model(&deep, 1)]).unwrap();
    let row = Trial { slot: 0, values: vec![Input { metric: 0, value: Some(0.0) }] };
    let verdicts = run(&mut Lane::new(&set), &[row], 1, 0);
    assert_eq!(verdicts, [[Verdict::Failed(Failure::OutOfFuel)]]);
}

#[test]
fn a_version_is_its_weights_too() {
    let other = Forest { divisor: 8.0, ..small() };
    let [one, two] = [small(), other].map(|forest| model(&forest.weights(), 2));
    let (first, second) = (scoring::version_of(&one), scoring::version_of(&two));
    assert_ne!(first, second);
    assert_ne!(first, scoring::version_of(&Model { artifact: None, ..one.clone() }));
    let set = loader().load(std::slice::from_ref(&one)).unwrap();
    assert_eq!(set.models().next().map(|model| model.version.clone()), first);
    let swapped = Model { inputs: columns(&["b", "a"]), ..one.clone() };
    let refused = loader().load(&[swapped]).unwrap_err().to_string();
    assert!(refused.contains("in the order a, b, is given b, a"), "{refused}");
    let unknown = Model { artifact: Some("0".repeat(64)), ..one };
    let refused = loader().load(&[unknown]).unwrap_err().to_string();
    assert_eq!(refused, format!("model `trees`: no weights with SHA-256 {} are known", "0".repeat(64)));
}

#[test]
fn weights_beyond_the_limit_are_refused() {
    let refused = loader().load(&[model(&vec![0; ARTIFACT_BYTES_MAX + 1], 2)]).unwrap_err().to_string();
    assert!(refused.contains("its weights have 16777217 bytes, at most 16777216"), "{refused}");
}

/// Where weights lie that scikit-learn has trained, with rows and what it says of them: committed, or just made
/// (`scoring/training/check`).
fn trained() -> PathBuf {
    match std::env::var_os("HIGHWATER_TRAINED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/trees"),
    }
}

/// Rows and, as the last of each, what the library says; an empty cell is missing.
fn table(path: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    let cell = |cell: &str| if cell.is_empty() { f64::NAN } else { cell.parse().unwrap() };
    text.lines().skip(1).map(|line| line.split(',').map(cell).collect()).collect()
}

#[test]
fn trained_weights_give_what_the_library_gives() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(trained()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "weights"));
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let mut rows = table(&file.with_extension("csv"));
        let expected: Vec<f64> = rows.iter_mut().map(|row| row.pop().unwrap()).collect();
        let found = said(&std::fs::read(&file).unwrap(), &rows);
        let mut compared = 0;
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let Some(found) = found else { panic!("{}: row {row} was not scored", file.display()) };
            assert!(
                (found - expected).abs() <= 1e-6,
                "{}: row {row}: {found} and {expected}",
                file.display()
            );
            compared += 1;
        }
        let different =
            expected.iter().map(|score| score.to_bits()).collect::<std::collections::BTreeSet<_>>();
        assert!(compared >= 50 && different.len() >= 10, "{}: {compared} rows", file.display());
    }
}
