"""The screens: Configure, Watch, Runs, one model, and the dialogs above them."""
