"""PMML documents written by hand from the standard, for the tests of the PMML server. Each has one kind of model."""

from __future__ import annotations

TREE = """\
<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
 <Header description="by hand"/>
 <DataDictionary>
  <DataField name="loan" optype="categorical" dataType="string">
   <Value value="yes"/>
  <Value value="no"/>
  </DataField>
  <DataField name="income" optype="continuous" dataType="double"/>
  <DataField name="age" optype="continuous" dataType="integer"/>
  <DataField name="city" optype="categorical" dataType="string">
   <Value value="Rome"/>
  <Value value="Oslo"/>
  </DataField>
 </DataDictionary>
 <TreeModel functionName="classification" missingValueStrategy="defaultChild" noTrueChildStrategy="returnLastPrediction" splitCharacteristic="multiSplit">
  <MiningSchema><MiningField name="loan" usageType="target"/>
  <MiningField name="income"/>
  <MiningField name="age"/>
  <MiningField name="city" invalidValueTreatment="asMissing"/>
  </MiningSchema>
  <Output>
   <OutputField name="decided" optype="categorical" dataType="string" feature="predictedValue"/>
   <OutputField name="p_yes" optype="continuous" dataType="double" feature="probability" value="yes"/>
   <OutputField name="p_no" optype="continuous" dataType="double" feature="probability" value="no"/>
   <OutputField name="node" optype="categorical" dataType="string" feature="entityId"/>
   <OutputField name="percent" optype="continuous" dataType="double" feature="transformedValue">
   <Apply function="*">
   <FieldRef field="p_yes"/>
  <Constant dataType="double">100</Constant></Apply></OutputField>
   <OutputField name="verdict" optype="categorical" dataType="string" feature="transformedValue">
   <Apply function="if">
   <Apply function="greaterThan">
   <FieldRef field="p_yes"/>
  <Constant dataType="double">0.5</Constant></Apply><Constant dataType="string">grant</Constant><Constant dataType="string">refuse</Constant></Apply></OutputField>
  </Output>
  <Node id="root" score="no" recordCount="100" defaultChild="rich">
   <True/>
   <ScoreDistribution value="yes" recordCount="40"/>
  <ScoreDistribution value="no" recordCount="60"/>
   <Node id="poor" score="no" recordCount="50">
   <SimplePredicate field="income" operator="lessThan" value="1000"/>
    <ScoreDistribution value="yes" recordCount="5"/>
  <ScoreDistribution value="no" recordCount="45"/>
  </Node>
   <Node id="rich" score="yes" recordCount="50" defaultChild="old">
   <SimplePredicate field="income" operator="greaterOrEqual" value="1000"/>
    <ScoreDistribution value="yes" recordCount="35"/>
  <ScoreDistribution value="no" recordCount="15"/>
    <Node id="young" score="no" recordCount="20">
   <CompoundPredicate booleanOperator="and">
   <SimplePredicate field="age" operator="lessThan" value="30"/>
  <SimpleSetPredicate field="city" booleanOperator="isIn">
   <Array n="1" type="string">Rome</Array></SimpleSetPredicate></CompoundPredicate>
     <ScoreDistribution value="yes" recordCount="8"/>
  <ScoreDistribution value="no" recordCount="12"/>
  </Node>
    <Node id="old" score="yes" recordCount="30">
   <SimplePredicate field="age" operator="greaterOrEqual" value="30"/>
     <ScoreDistribution value="yes" recordCount="27"/>
  <ScoreDistribution value="no" recordCount="3"/>
  </Node>
   </Node>
  </Node>
 </TreeModel>
</PMML>
"""
"""A tree that goes to `defaultChild` where a value is missing, with an `Output` of every plain kind."""

REGRESSION = """\
<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_3" version="4.3">
 <Header/>
 <DataDictionary numberOfFields="4">
  <DataField name="price" optype="continuous" dataType="double"/>
  <DataField name="area" optype="continuous" dataType="double"/>
  <DataField name="floor" optype="continuous" dataType="integer"/>
  <DataField name="kind" optype="categorical" dataType="string">
   <Value value="flat"/>
  <Value value="house"/>
  </DataField>
 </DataDictionary>
 <TransformationDictionary>
  <DerivedField name="log_area" optype="continuous" dataType="double">
   <Apply function="ln">
   <FieldRef field="area"/>
  </Apply></DerivedField>
 </TransformationDictionary>
 <RegressionModel functionName="regression">
  <MiningSchema><MiningField name="price" usageType="target"/>
  <MiningField name="area"/>
  <MiningField name="floor" missingValueReplacement="2"/>
  <MiningField name="kind"/>
  </MiningSchema>
  <RegressionTable intercept="10">
   <NumericPredictor name="log_area" coefficient="3"/>
  <NumericPredictor name="floor" coefficient="0.5" exponent="2"/>
  <CategoricalPredictor name="kind" value="house" coefficient="7"/>
  </RegressionTable>
 </RegressionModel>
</PMML>
"""
"""A regression with a derived field, a default for `floor` and a closed list for `kind`; PMML 4.3, no `Output`."""

IRIS = """\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
 <Header><Application name="by hand, in the shape of sklearn2pmml"/>
  </Header>
 <DataDictionary>
  <DataField name="y" optype="categorical" dataType="integer">
   <Value value="0"/>
  <Value value="1"/>
  <Value value="2"/>
  </DataField>
  <DataField name="x1" optype="continuous" dataType="double"/>
  <DataField name="x2" optype="continuous" dataType="double"/>
  <DataField name="x3" optype="continuous" dataType="double"/>
  <DataField name="x4" optype="continuous" dataType="double"/>
 </DataDictionary>
 <RegressionModel functionName="classification" algorithmName="sklearn.linear_model._logistic.LogisticRegression" normalizationMethod="softmax">
  <MiningSchema><MiningField name="y" usageType="target"/>
  <MiningField name="x1"/>
  <MiningField name="x2"/>
  <MiningField name="x3"/>
  <MiningField name="x4"/>
  </MiningSchema>
  <Output><OutputField name="probability(0)" optype="continuous" dataType="double" feature="probability" value="0"/>
  <OutputField name="probability(1)" optype="continuous" dataType="double" feature="probability" value="1"/>
  <OutputField name="probability(2)" optype="continuous" dataType="double" feature="probability" value="2"/>
  </Output>
  <RegressionTable intercept="9.85" targetCategory="0">
   <NumericPredictor name="x1" coefficient="-0.42"/>
  <NumericPredictor name="x2" coefficient="0.97"/>
  <NumericPredictor name="x3" coefficient="-2.5"/>
  <NumericPredictor name="x4" coefficient="-1.08"/>
  </RegressionTable>
  <RegressionTable intercept="2.24" targetCategory="1">
   <NumericPredictor name="x1" coefficient="0.53"/>
  <NumericPredictor name="x2" coefficient="-0.32"/>
  <NumericPredictor name="x3" coefficient="-0.2"/>
  <NumericPredictor name="x4" coefficient="-0.94"/>
  </RegressionTable>
  <RegressionTable intercept="-12.09" targetCategory="2">
   <NumericPredictor name="x1" coefficient="-0.11"/>
  <NumericPredictor name="x2" coefficient="-0.65"/>
  <NumericPredictor name="x3" coefficient="2.7"/>
  <NumericPredictor name="x4" coefficient="2.02"/>
  </RegressionTable>
 </RegressionModel>
</PMML>
"""
"""A softmax over three classes in the shape that sklearn2pmml writes."""

CLUSTERS = """\
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
   <Header/>
 <DataDictionary><DataField name="x" optype="continuous" dataType="float"/>
  <DataField name="when" optype="continuous" dataType="date"/>
  <DataField name="flag" optype="categorical" dataType="boolean"/>
  </DataDictionary>
 <ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="2">
 <MiningSchema><MiningField name="x"/>
  <MiningField name="when"/>
  <MiningField name="flag"/>
  </MiningSchema>
 <Output><OutputField name="near" optype="categorical" dataType="string" feature="predictedValue"/>
  <OutputField name="aff" optype="continuous" dataType="float" feature="affinity" value="1"/>
  <OutputField name="f" optype="categorical" dataType="boolean" feature="transformedValue">
   <FieldRef field="flag"/>
  </OutputField><OutputField name="fx" optype="continuous" dataType="float" feature="transformedValue">
   <FieldRef field="x"/>
  </OutputField>
 <OutputField name="yr" optype="continuous" dataType="integer" feature="transformedValue">
   <Apply function="dateDaysSinceYear">
   <FieldRef field="when"/>
  <Constant dataType="integer">2000</Constant></Apply></OutputField></Output>
 <ComparisonMeasure kind="distance">
   <squaredEuclidean/>
  </ComparisonMeasure>
 <ClusteringField field="x" compareFunction="absDiff"/>
 <Cluster id="1" name="low">
   <Array n="1" type="real">0</Array></Cluster><Cluster id="2">
   <Array n="1" type="real">10</Array></Cluster>
 </ClusteringModel></PMML>
"""
"""Clusters: no target, a date, a boolean and a float."""
