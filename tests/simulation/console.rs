//! Others who act on the platform: people at its console, and other holders of the same key.

use std::time::Duration;

use crate::environment::Act;
use crate::faults::Fault;
use crate::platform::{ID, Platform};
use crate::random::Random;
use crate::world::World;

#[derive(Clone, Debug)]
pub enum Console {
    /// Starts it with this rate.
    Start(i64),
    Pause,
    Stop,
    /// The pipeline fails; this many seconds later somebody stops it.
    RunError(u64),
    Reset,
    /// Deletes the pipeline.
    Delete,
    RevokeTokens,
}

impl Console {
    pub fn of(random: &mut Random) -> Self {
        match random.between(0, 13) {
            0..=2 => Console::Start(random.pick(&[10, 1000, 1_000_000])),
            3 | 4 => Console::Pause,
            5 | 6 => Console::Stop,
            7 => Console::RunError(random.between(1, 30)),
            8 | 9 => Console::Reset,
            10 => Console::Delete,
            _ => Console::RevokeTokens,
        }
    }

    pub fn apply(&self, world: &mut World) {
        if !matches!(self, Console::RevokeTokens) {
            world.oracle.console_acted();
        }
        match self {
            Console::Start(rate) => world.at_console(|p, now| p.put("RUNNING", *rate, now)),
            Console::Pause => world.at_console(|p, now| p.put("PAUSED", 0, now)),
            Console::Stop => world.at_console(|p, now| p.put("STOPPED", 0, now)),
            Console::RunError(seconds) => {
                world.at_console(|p, now| p.put("RUN_ERROR", 0, now));
                world.plan(Duration::from_secs(*seconds), Act::Console(Console::Stop));
            }
            Console::Reset => world.at_console(Platform::reset),
            Console::Delete => world.at_console(|p, _| drop(p.pipelines.remove(ID))),
            Console::RevokeTokens => world.at_console(|p, _| p.revoke_tokens()),
        }
    }
}

/// A wrong answer that the platform or its gateway may give, and whether the call was carried out.
pub fn answered(random: &mut Random, call: &str) -> Fault {
    let any = [(99000, false), (99000, true), (502, false), (502, true), (429, false), (401, false)];
    let (code, done) = match call {
        // The last row: accepted, but without effect.
        "enos reset" => random.pick(&[
            (61168, false),
            (61168, true),
            (99000, false),
            (99000, true),
            (502, true),
            (429, false),
            (401, false),
            (0, false),
        ]),
        "enos start" => random.pick(&[(61121, false), (61128, false), (61165, false), (99000, true), (502, true), (401, false)]),
        "enos pause" => random.pick(&[(61152, false), (61122, true), (99000, true), (99000, false), (502, true), (401, false)]),
        "enos token/get" | "enos token/refresh" => random.pick(&[(1001, false), (1005, false), (502, false), (429, false)]),
        _ => random.pick(&any),
    };
    Fault::Answered { code, done }
}
