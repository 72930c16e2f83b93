//! What is done to an answer, and which of it comes next: drawn by a seed, for each connection by itself.

use std::fmt;
use std::ops::Range;

use fastrand::Rng;
use kafka_protocol::messages::ApiKey;

/// What a hostile broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attack {
    // Well formed, and false.
    WrongGroup,
    WrongTopic,
    WrongPartition,
    WrongOffset,
    WrongText,
    /// Node ids, ports, epochs, times to wait.
    WrongNumber,
    WrongCode,
    /// API keys and versions, in ApiVersions.
    WrongVersion,
    /// Of a list an element, or all.
    Missing,
    /// An element of a list twice, or one more with nothing in it.
    OneMore,
    // Not well formed.
    NegativeCount,
    HugeCount,
    /// Where none is allowed, too.
    Null,
    /// Of a text.
    WrongLength,
    Truncated,
    BytesAtRandom,
    OtherCorrelationId,
    /// Of the frame: negative, none, too short, too long.
    WrongSize,
    // Well formed and true, and not as agreed.
    /// No answer; then the next ones, or none any more.
    Stall,
    /// About when the client gives up.
    Late,
    Twice,
    /// Frames that nobody asked for, as fast as they are read.
    Flood,
    /// A frame of up to 2 GiB, as fast as it is read.
    Gigabyte,
    ResetOnAccept,
    /// Without the effect of the request.
    ResetBefore,
    /// With its effect, and without an answer.
    ResetAfter,
    ResetMidAnswer,
}

use Attack::{
    BytesAtRandom, Flood, Gigabyte, HugeCount, Late, Missing, NegativeCount, Null, OneMore, OtherCorrelationId, ResetAfter, ResetBefore,
    ResetMidAnswer, ResetOnAccept, Stall, Truncated, Twice, WrongCode, WrongGroup, WrongLength, WrongNumber, WrongOffset, WrongPartition,
    WrongSize, WrongText, WrongTopic, WrongVersion,
};

impl Attack {
    #[rustfmt::skip]
    pub const ALL: [Attack; 27] = [
        WrongGroup, WrongTopic, WrongPartition, WrongOffset, WrongText, WrongNumber, WrongCode, WrongVersion, Missing, OneMore,
        NegativeCount, HugeCount, Null, WrongLength, Truncated, BytesAtRandom, OtherCorrelationId, WrongSize,
        Stall, Late, Twice, Flood, Gigabyte, ResetOnAccept, ResetBefore, ResetAfter, ResetMidAnswer,
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attack| attack.to_string() == name)
    }

    /// Whether answers of this API have what it changes.
    fn fits(self, api: ApiKey) -> bool {
        use ApiKey::{ApiVersions, ConsumerGroupDescribe, DescribeGroups, FindCoordinator, ListGroups, ListOffsets, Metadata, OffsetFetch};
        let grouped = matches!(api, DescribeGroups | ListGroups | ConsumerGroupDescribe);
        match self {
            WrongGroup => grouped || matches!(api, FindCoordinator | OffsetFetch),
            WrongTopic | WrongPartition => matches!(api, Metadata | ListOffsets | ApiKey::OffsetCommit | OffsetFetch),
            WrongOffset => matches!(api, ListOffsets | OffsetFetch),
            WrongText => grouped || matches!(api, Metadata | FindCoordinator | OffsetFetch),
            WrongNumber => api != ApiVersions,
            WrongVersion => api == ApiVersions,
            Null | WrongLength => api != ApiVersions,
            ResetOnAccept => false,
            _ => true,
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The answers it changes, and how often it chooses each of them to be after.
const APIS: [(ApiKey, u32); 9] = [
    (ApiKey::ApiVersions, 1),
    (ApiKey::Metadata, 3),
    (ApiKey::FindCoordinator, 2),
    (ApiKey::ListOffsets, 3),
    (ApiKey::OffsetCommit, 4),
    (ApiKey::OffsetFetch, 4),
    (ApiKey::DescribeGroups, 1),
    (ApiKey::ListGroups, 1),
    (ApiKey::ConsumerGroupDescribe, 3),
];

/// So many answers has a connection before it is of another mind.
const MOOD: Range<u32> = 4..20;
/// One of this many connections ends as soon as it is made.
const ACCEPTS: u32 = 30;

/// What is done to one answer; what is left to choose is drawn from its own numbers.
pub struct Strike {
    pub attack: Attack,
    pub rng: Rng,
}

/// What a connection is like for a while. Most is in order most of the time, so that a reset gets far enough for its later calls to
/// be attacked too.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Honest,
    /// After one thing only, at one of so many chances.
    Bent(ApiKey, Attack, u32),
    /// Anything, now and then.
    Mixed,
}

/// The choices of one connection.
pub struct Script {
    rng: Rng,
    only: Vec<Attack>,
    mood: Mood,
    /// Answers until the next mood.
    left: u32,
}

impl Script {
    /// `only`: none but these attacks, or, when empty, all.
    pub fn new(seed: u64, connection: u64, only: &[Attack]) -> Self {
        // Neighbours of a seed are to have nothing in common.
        let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ Rng::with_seed(!connection).u64(..));
        let only = if only.is_empty() { Attack::ALL.to_vec() } else { only.to_vec() };
        let mood = mood(&mut rng, &only);
        let left = rng.u32(MOOD);
        Self { rng, only, mood, left }
    }

    /// Whether the connection ends as soon as it is made.
    pub fn refuses(&mut self) -> bool {
        self.rng.u32(..ACCEPTS) == 0 && self.only.contains(&ResetOnAccept)
    }

    /// What is done to the next answer.
    pub fn next(&mut self, api: ApiKey) -> Option<Strike> {
        if self.left == 0 {
            (self.mood, self.left) = (mood(&mut self.rng, &self.only), self.rng.u32(MOOD));
        }
        self.left -= 1;
        // So many numbers are drawn in any case: what is asked for must not change what comes later.
        let (chance, which, own) = (self.rng.u32(..24), self.rng.usize(..usize::MAX), self.rng.u64(..));
        let attack = match self.mood {
            Mood::Honest => None,
            Mood::Bent(after, attack, of) => (api == after && chance % of == 0).then_some(attack),
            Mood::Mixed => {
                // Without its first answers a connection is good for nothing.
                let often = if matches!(api, ApiKey::ApiVersions | ApiKey::Metadata) { 1 } else { 4 };
                let fit: Vec<_> = self.only.iter().filter(|attack| attack.fits(api)).collect();
                let known = APIS.iter().any(|(known, _)| *known == api);
                (known && chance < often && !fit.is_empty()).then(|| *fit[which % fit.len()])
            }
        };
        attack.map(|attack| Strike { attack, rng: Rng::with_seed(own) })
    }
}

fn mood(rng: &mut Rng, only: &[Attack]) -> Mood {
    match rng.u32(..20) {
        0..5 => Mood::Honest,
        5..15 => {
            let weights: u32 = APIS.iter().map(|(_, weight)| weight).sum();
            let mut at = rng.u32(..weights);
            let api = APIS.iter().find(|(_, weight)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            });
            let api = api.map_or(ApiKey::OffsetFetch, |(api, _)| *api);
            let fit: Vec<_> = only.iter().filter(|attack| attack.fits(api)).collect();
            let (which, of) = (rng.usize(..usize::MAX), [1, 2, 4][rng.usize(..3)]);
            if fit.is_empty() { Mood::Honest } else { Mood::Bent(api, *fit[which % fit.len()], of) }
        }
        _ => Mood::Mixed,
    }
}
