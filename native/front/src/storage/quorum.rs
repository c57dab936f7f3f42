//! How far a write is: who has it, who can't have it any more, and what that makes of it.

/// A set of a write's replicas, by their places.
pub type Set = u64;

/// How many replicas a write can have.
pub const MOST: usize = Set::BITS as usize;

/// The set of one.
pub fn one(place: usize) -> Set {
    1 << place
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Reached,
    Impossible,
}

/// Replicas of which `needed` must have the write.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub members: Set,
    pub needed: u32,
}

/// Reached where all groups are, impossible where one is.
#[derive(Debug, Clone)]
pub struct Quorum {
    groups: [Group; 2],
    pub acked: Set,
    pub failed: Set,
}

impl Quorum {
    /// The second group is that of the next owners, where there are any.
    pub fn new(first: Group, second: Option<Group>) -> Self {
        Self { groups: [first, second.unwrap_or(first)], acked: 0, failed: 0 }
    }

    /// A success; one that had been given up counts again.
    pub fn ack(&mut self, place: usize) {
        self.acked |= one(place);
        self.failed &= !one(place);
    }

    /// A failure; what was done before stays done.
    pub fn fail(&mut self, place: usize) {
        self.failed |= one(place) & !self.acked;
    }

    pub fn state(&self) -> State {
        let mut state = State::Reached;
        for group in self.groups {
            if (group.members & !self.failed).count_ones() < group.needed {
                return State::Impossible;
            }
            if (group.members & self.acked).count_ones() < group.needed {
                state = State::Pending;
            }
        }
        state
    }

    /// How many replicas of the first group have it.
    pub fn answered(&self) -> u32 {
        (self.groups[0].members & self.acked).count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Group = Group { members: 0b111, needed: 2 };

    #[test]
    fn a_majority_is_enough_and_too_many_failures_are_the_end() {
        let mut quorum = Quorum::new(THREE, None);
        quorum.ack(0);
        quorum.fail(1);
        assert_eq!(quorum.state(), State::Pending);
        let mut reached = quorum.clone();
        reached.ack(2);
        assert_eq!((reached.state(), reached.answered()), (State::Reached, 2));
        quorum.fail(2);
        assert_eq!(quorum.state(), State::Impossible);
        quorum.ack(2);
        assert_eq!(quorum.state(), State::Reached);
    }

    #[test]
    fn both_groups_are_needed() {
        let mut quorum = Quorum::new(THREE, Some(Group { members: 0b1110, needed: 2 }));
        quorum.ack(0);
        quorum.ack(1);
        assert_eq!(quorum.state(), State::Pending);
        quorum.ack(3);
        assert_eq!(quorum.state(), State::Reached);
    }

    #[test]
    fn what_is_done_stays_done() {
        let mut quorum = Quorum::new(THREE, None);
        quorum.ack(0);
        quorum.fail(0);
        assert_eq!((quorum.acked, quorum.failed), (1, 0));
    }

    #[test]
    fn fewer_replicas_than_needed_can_not_do() {
        assert_eq!(Quorum::new(Group { members: 1, needed: 2 }, None).state(), State::Impossible);
    }
}
