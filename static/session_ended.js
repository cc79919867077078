// Sentences that tell the user why a session has ended.
"use strict";

// Return the sentence for a reason of `session ended`, or null if the user needs none.
const sessionEnded = (reason, wasSignedIn) => {
  const sentences = {
    logout: "You signed out in another tab.",
    revoked: wasSignedIn
      ? "You were signed out from another device or by this site."
      : "This site has ended your session.",
    idle: "Your session expired after a time without activity.",
    expired: "Your session expired because it reached its maximum age.",
  };
  return Object.hasOwn(sentences, reason) ? sentences[reason] : null;
};
