//! Waiting for whichever of two comes first.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;

/// Which one came first, and with what.
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of two futures and drops the other; where both are ready the first one wins.
pub async fn race<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(done) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(done));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
