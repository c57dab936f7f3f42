"""The key-value store's promises, held against it while its processes are killed and stopped.

After Kingsbury's Jepsen: clients write down what they asked for and were told, a nemesis breaks
things meanwhile, and in the end a checker that knows nothing of the store looks for what can't be.
"""
