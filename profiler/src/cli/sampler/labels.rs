//! Looks at the labels of each ship, a few times a second.

use std::time::Duration;

use crate::hoon::is_computing;
use crate::host::Roots;
use crate::sampler::labels::{LabelSums, Look};
use crate::ship::Ship;
use crate::ship::spin::SpinPage;

/// From one look to the next: 300 looks in a window of a minute. A look takes some microseconds.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The page of one ship, and what was seen on it in this window.
pub(super) struct Labels {
    page: Option<SpinPage>,
    sums: LabelSums,
}

impl Labels {
    /// Finds a ship's page, once for as long as it runs.
    pub(super) fn find(roots: &Roots, ship: &Ship) -> Self {
        let found = match &ship.mars {
            Some(mars) => SpinPage::find(roots, mars.tgid).map_err(|error| error.to_string()),
            None => Err("the ship has no Nock process".to_owned()),
        };
        match found {
            Ok(page) => Self {
                page: Some(page),
                sums: LabelSums::default(),
            },
            Err(why) => Self {
                page: None,
                sums: LabelSums::missing(why),
            },
        }
    }

    /// Looks once.
    pub(super) fn look(&mut self) {
        let Some(page) = &self.page else { return };
        self.sums.note(match page.read() {
            Ok(stack) if !stack.labels.is_empty() => Look::Labels(stack.labels),
            Ok(_) if is_computing(page.memory()) == Some(true) => Look::NoLabel,
            Ok(_) => Look::Idle,
            Err(_) => Look::Unreadable,
        });
    }

    /// What was seen since the last time that it was taken.
    pub(super) fn take(&mut self) -> LabelSums {
        match self.page {
            Some(_) => std::mem::take(&mut self.sums),
            None => self.sums.clone(),
        }
    }
}
