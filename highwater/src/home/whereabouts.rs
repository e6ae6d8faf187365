//! Who has the state of a partition, where that is not this process: for pointing people there.

use journal::kafka::owners::Owner;
use journal::port::JournalError;

/// Asks who owns the partitions of the processor's group.
pub(crate) type Owners = Box<dyn Fn() -> Result<Vec<Owner>, JournalError> + Send + Sync>;

/// The answer for all partitions at one moment; none: a home of one process.
pub(super) struct Whereabouts(Option<Result<Vec<Owner>, JournalError>>);

impl Whereabouts {
    /// Asks.
    pub(super) fn ask(owners: Option<&Owners>) -> Self {
        Self(owners.map(|ask| ask()))
    }

    /// Of one partition, in words.
    pub(super) fn of(&self, partition: u32) -> String {
        let owners = match &self.0 {
            None => return "nobody runs this home's processor now".to_owned(),
            Some(Err(why)) => return format!("who has it cannot be told now: {why}"),
            Some(Ok(owners)) => owners,
        };
        match owners.iter().find(|owner| owner.partitions.contains(&partition)) {
            Some(Owner { instance, host, .. }) => {
                format!("the processor `{instance}` at {host} has it; ask its admin address (--url)")
            }
            None => "no processor has it now".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_named_and_what_is_not_known_is_said() {
        let owner = |instance: &str, partitions: &[u32]| Owner {
            instance: instance.to_owned(),
            host: "10.0.0.7".to_owned(),
            partitions: partitions.to_vec(),
        };
        let all = Whereabouts(Some(Ok(vec![owner("a", &[0, 2]), owner("b", &[1])])));
        assert!(all.of(1).contains("`b` at 10.0.0.7") && all.of(2).contains("`a`"));
        assert_eq!(all.of(3), "no processor has it now");
        let away = Whereabouts(Some(Err(JournalError::Retry("away".to_owned()))));
        assert!(away.of(0).contains("away"));
        assert!(Whereabouts::ask(None).of(0).contains("nobody"));
    }
}
