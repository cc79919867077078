// Sends the form that waited for the user's password; without scripts the user presses its button.
document.getElementById("send-again").requestSubmit();
