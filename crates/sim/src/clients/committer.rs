//! A consumer without a group's membership that commits whatever it likes, and forgets.

use std::pin::Pin;

use broker::{Broker, Commit, Error};
use model::{GroupId, Offset, Timestamp};

use super::{Client, at};
use crate::life::Life;

#[derive(Debug)]
pub(crate) struct Committer {
    group: String,
}

impl Committer {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            // Two of them share a group.
            group: format!("free-{}", number / 2),
        }
    }

    async fn turn(&self, life: &Life<'_>) {
        let dice = &life.world.dice;
        let of = at(if dice.chance(50) { "a" } else { "b" }, 0);
        let group = GroupId::new(&self.group).expect("the group has a good name");
        let forgets = dice.chance(8);
        let value = (!forgets).then(|| dice.below(1 << 40));
        let written = life
            .world
            .oracle
            .borrow_mut()
            .commits
            .begin(&self.group, &of, value);
        let answer = match value {
            Some(value) => {
                let commit = Commit {
                    position: Offset::new(value).into(),
                    leader_epoch: None,
                    metadata: "m".to_owned(),
                    at: Timestamp::from_millis(1),
                };
                life.call(life.broker.commit(&group, vec![(of.clone(), commit)]))
                    .await
            }
            None => {
                life.call(life.broker.forget_group(&group, Some(vec![of.clone()])))
                    .await
            }
        };
        match answer {
            Ok(()) => {
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.commits.acknowledge(&written);
                oracle.tally.commits += 1;
                drop(oracle);
                life.note(&self.group, format_args!("{of} {value:?}"));
            }
            Err(Error::UnknownGroup { .. }) => {
                life.world.oracle.borrow_mut().commits.refuse(&written);
            }
            Err(error) => life.refused(&error),
        }
    }
}

impl Client for Committer {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(150).await;
                self.turn(life).await;
            }
        })
    }
}
