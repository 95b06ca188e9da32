"""Generator of the runtime decoder's tables: probe iced-x86, fold what it answers, emit C.

encodings   a point of the encoding space, and its bytes
observe     what iced-x86 says about one point, reduced to what the decoder needs
fold        many observations to few classes and the decision trees that lead to them
emit        classes and trees as C
"""
