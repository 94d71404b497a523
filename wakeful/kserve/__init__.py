"""KServe's Python surface on Wakeful's model server: a KServe ``Model`` subclass runs by changing its import."""
