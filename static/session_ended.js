// Why a session has ended, in the words of all pages.
"use strict";

// The sentence for a reason of `session ended`; null where there is nothing to say.
const sessionEnded = (reason, wasSignedIn) => {
  const sentences = {
    logout: "You signed out in another tab.",
    revoked: wasSignedIn
      ? "You were signed out from another device or by this site."
      : "This session was ended by this site.",
    idle: "Your session expired after a while without activity.",
    expired: "Your session expired: it has reached its longest life.",
  };
  return Object.hasOwn(sentences, reason) ? sentences[reason] : null;
};
